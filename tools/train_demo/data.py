"""Messages with their areas, plain text, and the pieces that inboxes are put together from."""

import csv
import json
import lzma
import os
import pathlib
import random
import sys
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "prompts"))
import make_prompts  # noqa: E402

AREAS = make_prompts.AREAS  # in the order of the labels
HEADER = make_prompts.HEADER + "\n"
MAX_MESSAGES = 12
BOS, EOS = 0, 1
HELD_OUT = 50_000  # last tokens of every plain text, for perplexity


@dataclass(frozen=True)
class Message:
    ids: tuple[int, ...]  # of " text\n", as it stands in an inbox
    area: int


class Frame:
    """Token ids of everything in an inbox but its messages.

    The pieces are encoded one by one: the tokenizer's split never joins them, see `check`.
    """

    def __init__(self, tokenizer: Tokenizer):
        self._tokenizer = tokenizer
        self.header = [BOS] + self.encode(HEADER)
        self.number = [self.encode(f"{n}.") for n in range(1, MAX_MESSAGES + 1)]
        self.question = [self.encode(f"Area of message {n}:") for n in range(1, MAX_MESSAGES + 1)]
        self.newline = self.encode("\n")
        labels = [self.encode(" " + area) for area in AREAS.values()]
        if any(len(ids) != 1 for ids in labels):
            raise ValueError("every area has to be one token")
        self.labels = [ids[0] for ids in labels]

    def encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def message(self, text: str, area: int) -> Message:
        return Message(tuple(self.encode(f" {text}\n")), area)

    def check(self, texts: list[str]) -> None:
        """Pieces put together have to be the tokens of the whole prompt."""
        whole = HEADER + "".join(f"{n}. {text}\n" for n, text in enumerate(texts, 1))
        whole += "Area of message 1: bank\n"
        pieces = list(self.header)
        for number, text in enumerate(texts):
            pieces += self.number[number] + self.encode(f" {text}\n")
        pieces += self.question[0] + [self.labels[0]] + self.newline
        if self._tokenizer.encode(whole).ids != pieces:
            raise ValueError(f"this inbox does not split into its pieces: {whole!r}")


def load_clinc(folder: pathlib.Path, split: str) -> list[tuple[str, int]]:
    """[(message, area)] of one split of CLINC150."""
    domains = json.loads((folder / "clinc_domains.json").read_text())
    names = list(AREAS)
    area_of = {intent: names.index(name) for name in names for intent in domains[name]}
    messages = json.loads((folder / "clinc_full.json").read_text())[split]
    return [(text, area_of[intent]) for text, intent in messages]


def load_banking(folder: pathlib.Path) -> list[tuple[str, int]]:
    """Banking77's training messages, lower-cased as CLINC's are."""
    bank, card = 0, 1
    with open(folder / "bank_train.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [(" ".join(row["text"].lower().split()), card if "card" in row["category"] else bank)
            for row in rows]


def load_texts(folder: pathlib.Path) -> dict[str, str]:
    """Plain text by source."""
    with lzma.open(folder / "novels.txt.xz", "rt", encoding="utf-8") as file:
        novels = file.read()
    return {
        "novels": novels,
        "stories": (folder / "tinystories_lower_4MB.txt").read_text(encoding="utf-8"),
        "wikitext": (folder / "wikitext2_valid.txt").read_text(encoding="utf-8"),
    }


def tokenize_texts(folder: pathlib.Path, tokenizer: Tokenizer,
                   cache: pathlib.Path) -> dict[str, np.ndarray]:
    """Token ids of every source, kept in `cache` (.npz) from one run to the next."""
    if not cache.exists():
        ids = {}
        for source, text in load_texts(folder).items():
            lines = tokenizer.encode_batch_fast(text.splitlines(keepends=True),
                                                add_special_tokens=False)
            ids[source] = np.concatenate([np.array(line.ids, np.uint16) for line in lines])
        partial = cache.with_name(f"{os.getpid()}.npz")  # processes do not read halves
        np.savez(partial, **ids)
        partial.rename(cache)
    with np.load(cache) as file:
        return dict(file)


def split_texts(texts: dict[str, np.ndarray]) -> tuple[dict, dict]:
    """What is trained on, and what is held out."""
    return ({name: ids[:-HELD_OUT] for name, ids in texts.items()},
            {name: ids[-HELD_OUT:] for name, ids in texts.items()})


class MessagePool:
    """Draws messages with every area equally likely, part of bank and card from Banking77."""

    BANKING_SHARE = 0.3

    def __init__(self, clinc: list[Message], banking: list[Message]):
        self._clinc = [[m for m in clinc if m.area == area] for area in range(len(AREAS))]
        self._banking = [[m for m in banking if m.area == area] for area in range(len(AREAS))]

    def draw(self, rng: random.Random) -> Message:
        area = rng.randrange(len(AREAS))
        extra = self._banking[area]
        if extra and rng.random() < self.BANKING_SHARE:
            return rng.choice(extra)
        return rng.choice(self._clinc[area])
