"""Client of spade-server; see README.md beside it."""
from .aio import AsyncClient
from .client import Client
from .errors import (
    Cancelled,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    SpadeError,
    Unavailable,
)
from .types import Answer, Completion, Decision, Delta, Question

__all__ = [
    "Answer", "AsyncClient", "Cancelled", "Client", "Completion", "DeadlineExceeded", "Decision",
    "Delta", "FailedPrecondition", "InvalidArgument", "NotFound", "Question", "ResourceExhausted",
    "SpadeError", "Unavailable",
]
