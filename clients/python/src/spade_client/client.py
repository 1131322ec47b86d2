"""The client for threads."""
from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import grpc

from . import messages
from .connection import token_metadata
from .errors import rpc_errors
from .types import Answer, Completion, Decision, Delta, Prompt, Question
from .v1 import inference_pb2 as pb
from .v1 import inference_pb2_grpc as stubs


class Client:
    """A connection to one spade-server. Thread-safe; also a context manager.

    `credentials` turns TLS on (see tls_credentials); `token` is sent with every call. `timeout`
    (seconds) is the default of every call; it is sent to the server, which stops working when it
    is over. Failures raise SpadeError and its kinds.
    """

    def __init__(
        self,
        address: str = "127.0.0.1:50051",
        *,
        credentials: grpc.ChannelCredentials | None = None,
        token: str | None = None,
        timeout: float | None = None,
        options: Sequence[tuple[str, Any]] = (),
    ):
        self._channel = (
            grpc.insecure_channel(address, options) if credentials is None
            else grpc.secure_channel(address, credentials, options))
        self._stub = stubs.InferenceServiceStub(self._channel)
        self._timeout = timeout
        self._metadata = token_metadata(token)

    def _within(self, timeout: float | None) -> float | None:
        return self._timeout if timeout is None else timeout

    def close(self) -> None:
        self._channel.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def generate(self, prompt: Prompt, *, timeout: float | None = None,
                 **options: Any) -> Iterator[Delta]:
        """Continues a prompt, as it is written; `options` are those of
        messages.generate_request. Leaving the iterator cancels the request."""
        request = messages.generate_request(prompt, **options)
        call = self._stub.Generate(request, timeout=self._within(timeout),
                                   metadata=self._metadata)
        return self._deltas(call)

    def _deltas(self, call: Any) -> Iterator[Delta]:
        try:
            with rpc_errors():
                for response in call:
                    yield messages.delta(response)
        finally:
            call.cancel()

    def complete(self, prompt: Prompt, *, timeout: float | None = None,
                 **options: Any) -> Completion:
        """Continues a prompt once, and waits for the end."""
        if options.get("n") not in (None, 1):
            raise ValueError("complete() makes one continuation; use generate()")
        return messages.completion(list(self.generate(prompt, timeout=timeout, **options)))

    def decide(
        self,
        prompt: Prompt,
        labels: Sequence[str],
        *,
        preview: Callable[[Decision], None] | None = None,
        timeout: float | None = None,
        **options: Any,
    ) -> Decision:
        """Chooses one of the labels; `options` are those of messages.decide_request. Mode
        "verified" hands its early answer to `preview`."""
        request = messages.decide_request(prompt, labels, **options)
        with rpc_errors():
            for response in self._stub.Decide(request, timeout=self._within(timeout),
                                              metadata=self._metadata):
                made = messages.decision(response)
                if made.final:
                    return made
                if preview is not None:
                    preview(made)
        raise RuntimeError("the server sent no final answer")

    def decide_many(
        self,
        questions: Iterable[Question | Prompt],
        labels: Sequence[str] | None = None,
        *,
        max_in_flight: int = 64,
        progress: Callable[[int], None] | None = None,
        timeout: float | None = None,
        **options: Any,
    ) -> Iterator[Answer]:
        """Answers as they finish, over one stream. `questions` is read only as fast as answers
        come: at most `max_in_flight` wait. An answer's error is that question's alone; an error of
        the stream is raised. `progress` gets the number of answers so far."""
        if max_in_flight < 1:
            raise ValueError("max_in_flight must be at least 1")
        feed = _Feed(questions, max_in_flight,
                     lambda i, q: messages.numbered_request(i, q, labels, **options))
        call = self._stub.DecideStream(feed, timeout=self._within(timeout),
                                       metadata=self._metadata)
        answered = 0
        try:
            with rpc_errors():
                for response in call:
                    answer = messages.answer(response)
                    if answer is None:
                        continue
                    feed.release()
                    answered += 1
                    if progress is not None:
                        progress(answered)
                    yield answer
        finally:
            feed.stop()
            call.cancel()
        if feed.error is not None:
            raise feed.error

    def tokenize(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        request = pb.TokenizeRequest(text=text, add_special_tokens=add_special_tokens)
        with rpc_errors():
            return list(self._stub.Tokenize(request, timeout=self._timeout,
                                            metadata=self._metadata).token_ids)

    def detokenize(self, token_ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        request = pb.DetokenizeRequest(token_ids=token_ids,
                                       skip_special_tokens=skip_special_tokens)
        with rpc_errors():
            return self._stub.Detokenize(request, timeout=self._timeout,
                                         metadata=self._metadata).text

    def model(self) -> pb.GetModelResponse:
        """The served model, with its labels and certified bounds."""
        with rpc_errors():
            return self._stub.GetModel(pb.GetModelRequest(), timeout=self._timeout,
                                       metadata=self._metadata)

    def info(self) -> pb.GetServerInfoResponse:
        """The server: version, device, load."""
        with rpc_errors():
            return self._stub.GetServerInfo(pb.GetServerInfoRequest(), timeout=self._timeout,
                                            metadata=self._metadata)


class _Feed:
    """Requests of a stream, which gRPC reads on a thread of its own: waits while too many are
    unanswered. An error of the caller's iterable ends the stream and is kept."""

    def __init__(self, questions: Iterable[Question | Prompt], max_in_flight: int,
                 make: Callable[[int, Question | Prompt], pb.DecideRequest]):
        self._questions = enumerate(questions)
        self._make = make
        self._room = threading.Semaphore(max_in_flight)
        self._stopped = False
        self.error: Exception | None = None

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> pb.DecideRequest:
        self._room.acquire()
        if self._stopped:
            raise StopIteration
        try:
            return self._make(*next(self._questions))
        except StopIteration:
            raise
        except Exception as error:  # not gRPC's to swallow
            self.error = error
            raise StopIteration from None

    def release(self) -> None:
        self._room.release()

    def stop(self) -> None:
        self._stopped = True
        self._room.release()
