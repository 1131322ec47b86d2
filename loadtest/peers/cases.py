"""What is measured, the same for every engine.

decode N:    one step of N sequences, each after a prompt of 32 tokens: mean of 32 steps.
prefill N:   a prompt of N tokens and the logits of its last one; 512, on a GPU 4096.
decide N:    N prompts of 256 tokens at once, the logits of each one's last token.
"""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

DECODE_PROMPT = 32
DECODE_STEPS = 32


@dataclass(frozen=True)
class Case:
    kind: str
    sequences: int
    prompt: int

    @property
    def name(self) -> str:
        return f"{self.kind} {self.prompt if self.kind == 'prefill' else self.sequences}"

    @property
    def unit(self) -> str:
        return "decisions/s" if self.kind == "decide" else "tokens/s"

    def rate(self, seconds: float) -> float:
        """`seconds`: of one step for decode, of all prompts for the others."""
        return (self.prompt if self.kind == "prefill" else self.sequences) / seconds


KINDS = ("decode", "prefill", "decide")


def cases_on(device: str, decisions: list[int], kinds: list[str]) -> list[Case]:
    batches, prefill = ((1, 8, 32), 512) if device == "cpu" else ((1, 8, 64), 4096)
    every = [
        *(Case("decode", n, DECODE_PROMPT) for n in batches),
        Case("prefill", 1, prefill),
        *(Case("decide", n, 256) for n in decisions),
    ]
    return [case for case in every if case.kind in kinds]


_calls = itertools.count()


def prompts(case: Case, vocab_size: int) -> list[list[int]]:
    """Other ones at every call: an engine with a prefix cache is not to find the last ones in it."""
    rng = random.Random(f"{case.name} {next(_calls)}")
    return [[rng.randrange(2, vocab_size) for _ in range(case.prompt)] for _ in range(case.sequences)]


def report(case: Case, measure: Callable[[], float]) -> None:
    """One line of the protocol between a measuring program and run.py: the median of three, warm."""
    measure()
    seconds = median(measure() for _ in range(3))
    print(json.dumps({"case": case.name, "seconds": seconds}), flush=True)
