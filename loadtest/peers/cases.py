"""What is measured, the same for every engine.

decode N:    one step of N sequences, each after a prompt of 32 tokens: mean of 32 steps.
prefill 512: a prompt of 512 tokens and the logits of its last one.
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

    @property
    def prompt(self) -> int:
        return {"decode": DECODE_PROMPT, "prefill": 512, "decide": 256}[self.kind]

    @property
    def name(self) -> str:
        return "prefill 512" if self.kind == "prefill" else f"{self.kind} {self.sequences}"

    @property
    def unit(self) -> str:
        return "decisions/s" if self.kind == "decide" else "tokens/s"

    def rate(self, seconds: float) -> float:
        """`seconds`: of one step for decode, of all prompts for the others."""
        return (self.prompt if self.kind == "prefill" else self.sequences) / seconds


def cases(decisions: list[int]) -> list[Case]:
    return [
        *(Case("decode", n) for n in (1, 8, 32)),
        Case("prefill", 1),
        *(Case("decide", n) for n in decisions),
    ]


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
