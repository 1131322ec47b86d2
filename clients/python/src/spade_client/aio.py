"""The client for asyncio."""
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Sequence
from typing import Any

import grpc
import grpc.aio

from . import messages
from .connection import token_metadata
from .errors import rpc_errors
from .types import Answer, Completion, Decision, Delta, Prompt, Question
from .v1 import inference_pb2 as pb
from .v1 import inference_pb2_grpc as stubs


async def _numbered(
    questions: Iterable[Question | Prompt] | AsyncIterable[Question | Prompt],
) -> AsyncIterator[tuple[int, Question | Prompt]]:
    index = 0
    if isinstance(questions, AsyncIterable):
        async for question in questions:
            yield index, question
            index += 1
    else:
        for question in questions:
            yield index, question
            index += 1


class AsyncClient:
    """As Client, for asyncio. Make and use it in one event loop."""

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
            grpc.aio.insecure_channel(address, options) if credentials is None
            else grpc.aio.secure_channel(address, credentials, options))
        self._stub = stubs.InferenceServiceStub(self._channel)
        self._timeout = timeout
        self._metadata = token_metadata(token)

    def _within(self, timeout: float | None) -> float | None:
        return self._timeout if timeout is None else timeout

    async def close(self) -> None:
        await self._channel.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def generate(self, prompt: Prompt, *, timeout: float | None = None,
                       **options: Any) -> AsyncIterator[Delta]:
        request = messages.generate_request(prompt, **options)
        call = self._stub.Generate(request, timeout=self._within(timeout),
                                   metadata=self._metadata)
        try:
            with rpc_errors():
                async for response in call:
                    yield messages.delta(response)
        finally:
            call.cancel()

    async def complete(self, prompt: Prompt, *, timeout: float | None = None,
                       **options: Any) -> Completion:
        if options.get("n") not in (None, 1):
            raise ValueError("complete() makes one continuation; use generate()")
        deltas = [d async for d in self.generate(prompt, timeout=timeout, **options)]
        return messages.completion(deltas)

    async def decide(
        self,
        prompt: Prompt,
        labels: Sequence[str],
        *,
        preview: Callable[[Decision], None] | None = None,
        timeout: float | None = None,
        **options: Any,
    ) -> Decision:
        request = messages.decide_request(prompt, labels, **options)
        with rpc_errors():
            async for response in self._stub.Decide(request, timeout=self._within(timeout),
                                                    metadata=self._metadata):
                made = messages.decision(response)
                if made.final:
                    return made
                if preview is not None:
                    preview(made)
        raise RuntimeError("the server sent no final answer")

    async def decide_many(
        self,
        questions: Iterable[Question | Prompt] | AsyncIterable[Question | Prompt],
        labels: Sequence[str] | None = None,
        *,
        max_in_flight: int = 64,
        progress: Callable[[int], None] | None = None,
        timeout: float | None = None,
        **options: Any,
    ) -> AsyncIterator[Answer]:
        if max_in_flight < 1:
            raise ValueError("max_in_flight must be at least 1")
        room = asyncio.Semaphore(max_in_flight)
        failure: list[Exception] = []

        async def requests() -> AsyncIterator[pb.DecideRequest]:
            try:
                async for index, question in _numbered(questions):
                    await room.acquire()
                    yield messages.numbered_request(index, question, labels, **options)
            except Exception as error:  # not gRPC's to swallow
                failure.append(error)

        call = self._stub.DecideStream(requests(), timeout=self._within(timeout),
                                       metadata=self._metadata)
        answered = 0
        try:
            with rpc_errors():
                async for response in call:
                    answer = messages.answer(response)
                    if answer is None:
                        continue
                    room.release()
                    answered += 1
                    if progress is not None:
                        progress(answered)
                    yield answer
        finally:
            call.cancel()
        if failure:
            raise failure[0]

    async def tokenize(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        request = pb.TokenizeRequest(text=text, add_special_tokens=add_special_tokens)
        with rpc_errors():
            return list((await self._stub.Tokenize(request, timeout=self._timeout,
                                                   metadata=self._metadata)).token_ids)

    async def detokenize(self, token_ids: Sequence[int], *,
                         skip_special_tokens: bool = True) -> str:
        request = pb.DetokenizeRequest(token_ids=token_ids,
                                       skip_special_tokens=skip_special_tokens)
        with rpc_errors():
            return (await self._stub.Detokenize(request, timeout=self._timeout,
                                                metadata=self._metadata)).text

    async def model(self) -> pb.GetModelResponse:
        with rpc_errors():
            return await self._stub.GetModel(pb.GetModelRequest(), timeout=self._timeout,
                                             metadata=self._metadata)

    async def info(self) -> pb.GetServerInfoResponse:
        with rpc_errors():
            return await self._stub.GetServerInfo(pb.GetServerInfoRequest(),
                                                  timeout=self._timeout, metadata=self._metadata)
