"""The command line of every measuring program."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

from cases import KINDS, Case, cases_on


@dataclass(frozen=True)
class Arguments:
    model: Path
    dtype: str
    device: str
    compiled: bool
    threads: int
    cases: list[Case]
    vocab_size: int


def parse(description: str) -> Arguments:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--model", type=Path, required=True, help="the model, as convert.py left it")
    parser.add_argument("--dtype", choices=["bf16", "int8"], default="bf16")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--compiled", action="store_true", help="where the engine knows the word")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--decisions", type=int, nargs="*", default=[])
    parser.add_argument("--kinds", nargs="*", choices=KINDS, default=KINDS)
    parser.add_argument("--vocab-size", type=int, required=True)
    given = parser.parse_args()
    return Arguments(
        model=given.model,
        dtype=given.dtype,
        device=given.device,
        compiled=given.compiled,
        threads=given.threads,
        cases=cases_on(given.device, given.decisions, given.kinds),
        vocab_size=given.vocab_size,
    )


def vocab_size(checkpoint: Path) -> int:
    return int(json.loads((checkpoint / "config.json").read_text())["vocab_size"])
