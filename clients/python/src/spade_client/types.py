"""What goes in and comes out, as plain data."""
from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from .errors import SpadeError
from .v1 import inference_pb2 as pb

Prompt = str | Sequence[int]  # text, or token ids


@dataclasses.dataclass(frozen=True)
class Delta:
    """New output of one continuation."""

    index: int
    text: str
    token_ids: list[int]
    logprobs: list[pb.TokenLogprob]
    finish_reason: str | None  # "stop" or "length", on the last one of its index
    usage: pb.Usage | None  # with finish_reason
    timings: pb.Timings | None
    early_tokens: pb.EarlyTokens | None  # modes "verified" and "fast"


@dataclasses.dataclass(frozen=True)
class Completion:
    """One continuation as a whole."""

    text: str
    token_ids: list[int]
    finish_reason: str
    usage: pb.Usage
    timings: pb.Timings
    early_tokens: pb.EarlyTokens | None


@dataclasses.dataclass(frozen=True)
class Decision:
    label: str
    label_index: int
    probabilities: list[float]  # in the order of the labels
    final: bool  # False: mode "verified"'s early answer
    corrected: bool  # differs from the early answer
    exit_layer: int  # num_layers: full depth
    num_layers: int
    compute_saved: float  # share of the full pass's layer work that was not run
    entropy: float
    threshold: float
    certificate_id: str
    usage: pb.Usage
    timings: pb.Timings


@dataclasses.dataclass(frozen=True)
class Question:
    """One decision of many: a prompt, and labels where they differ from the others'."""

    prompt: Prompt
    labels: Sequence[str] | None = None


@dataclasses.dataclass(frozen=True)
class Answer:
    """The outcome of one Question: a decision or an error."""

    index: int  # of the question
    decision: Decision | None
    error: SpadeError | None

    def unwrap(self) -> Decision:
        """The decision; raises the error."""
        if self.error is not None:
            raise self.error
        assert self.decision is not None
        return self.decision
