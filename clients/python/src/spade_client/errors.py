"""gRPC's status codes as exceptions."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc

from .v1 import error_details_pb2


class SpadeError(Exception):
    """A call, or one request of a stream, that failed."""

    def __init__(self, code: grpc.StatusCode, message: str, retry_after: float | None = None):
        super().__init__(f"{code.name}: {message}")
        self.code = code
        self.message = message
        self.retry_after = retry_after  # seconds, where the server says so


class InvalidArgument(SpadeError):
    """The message names the field and what is allowed."""


class Unauthenticated(SpadeError):
    """The server wants a token that its token file knows: Client(token=...)."""


class NotFound(SpadeError):
    """The server serves another model."""


class ResourceExhausted(SpadeError):
    """The server's queue is full, or your token is at a limit: try again after `retry_after`."""


class FailedPrecondition(SpadeError):
    """No certificate matches the mode, labels and max_mismatch asked for."""


class DeadlineExceeded(SpadeError):
    """`timeout` was over first."""


class Cancelled(SpadeError):
    pass


class Unavailable(SpadeError):
    """No server there, or one that loads or drains: try another one."""


_BY_CODE = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgument,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ResourceExhausted,
    grpc.StatusCode.FAILED_PRECONDITION: FailedPrecondition,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.CANCELLED: Cancelled,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
}
_BY_NUMBER = {code.value[0]: code for code in grpc.StatusCode}


def make_error(code: grpc.StatusCode, message: str, retry_after: float | None = None) -> SpadeError:
    return _BY_CODE.get(code, SpadeError)(code, message, retry_after)


def from_number(code: int, message: str) -> SpadeError:
    return make_error(_BY_NUMBER.get(code, grpc.StatusCode.UNKNOWN), message)


def from_rpc(error: grpc.RpcError) -> SpadeError:
    return make_error(error.code(), error.details() or "", _retry_after(error))


@contextmanager
def rpc_errors() -> Iterator[None]:
    """Failures of gRPC inside become ours."""
    try:
        yield
    except grpc.RpcError as error:
        raise from_rpc(error) from None


def _retry_after(error: grpc.RpcError) -> float | None:
    metadata: Any = error.trailing_metadata() or ()
    for key, value in metadata:
        if key != "grpc-status-details-bin":
            continue
        details = error_details_pb2.StatusDetails.FromString(value)
        for detail in details.details:
            if detail.type_url.endswith("google.rpc.RetryInfo"):
                delay = error_details_pb2.RetryInfo.FromString(detail.value).retry_delay
                return delay.seconds + delay.nanos / 1e9
    return None
