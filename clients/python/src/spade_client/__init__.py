"""Client of spade-server; see README.md beside it."""
from .aio import AsyncClient
from .client import Client
from .connection import tls_credentials
from .errors import (
    Cancelled,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    SpadeError,
    Unauthenticated,
    Unavailable,
)
from .types import Answer, Completion, Decision, Delta, Question

__all__ = [
    "Answer", "AsyncClient", "Cancelled", "Client", "Completion", "DeadlineExceeded", "Decision",
    "Delta", "FailedPrecondition", "InvalidArgument", "NotFound", "Question", "ResourceExhausted",
    "SpadeError", "Unauthenticated", "Unavailable", "tls_credentials",
]
