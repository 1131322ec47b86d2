"""The command line of every measuring program."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

from cases import Case, cases


@dataclass(frozen=True)
class Arguments:
    model: Path
    dtype: str
    threads: int
    cases: list[Case]
    vocab_size: int


def parse(description: str) -> Arguments:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--model", type=Path, required=True, help="the model, as convert.py left it")
    parser.add_argument("--dtype", choices=["bf16", "int8"], default="bf16")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--decisions", type=int, nargs="*", default=[])
    parser.add_argument("--vocab-size", type=int, required=True)
    given = parser.parse_args()
    return Arguments(given.model, given.dtype, given.threads, cases(given.decisions), given.vocab_size)


def vocab_size(checkpoint: Path) -> int:
    return int(json.loads((checkpoint / "config.json").read_text())["vocab_size"])
