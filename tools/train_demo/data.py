"""Messages with their areas and intents, plain text, and the pieces inboxes are put together from."""

import csv
import lzma
import os
import pathlib
import random
import re
import sys
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "prompts"))
import make_prompts  # noqa: E402
import tasks  # noqa: E402

AREAS = list(tasks.AREAS.values())  # in the order of the labels
INTENTS = [(area, intent) for area in AREAS for intent in tasks.INTENTS[area]]
HEADER = tasks.HEADER + "\n"
MAX_MESSAGES = 56
NONE = -100  # no area or no intent
BOS, EOS = 0, 1
HELD_OUT = 50_000  # last tokens of every plain text, for perplexity


@dataclass(frozen=True)
class Message:
    ids: tuple[int, ...]  # of " text\n", as it stands in an inbox
    area: int  # NONE: out of scope
    intent: int  # of INTENTS; NONE where only the area is known


class Frame:
    """Token ids of everything in an inbox but its messages.

    The pieces are encoded one by one: the tokenizer's split never joins them, see `check`.
    """

    def __init__(self, tokenizer: Tokenizer):
        self._tokenizer = tokenizer
        self._questions: dict[tuple, list[int]] = {}
        self.header = [BOS] + self.encode(HEADER)
        self.number = [self.encode(f"{n}.") for n in range(1, MAX_MESSAGES + 1)]
        self.newline = self.encode("\n")
        # Every set of labels that a question chooses from: the areas, each area's intents, yes or no.
        sets = [tasks.labels("area")] + [tasks.labels("intent", area) for area in AREAS]
        sets.append(tasks.labels("same"))
        encoded = [[self._token(label) for label in labels] for labels in sets]
        self.labels = sorted({token for tokens in encoded for token in tokens})
        self.choices = np.zeros((len(sets), len(self.labels)), dtype=bool)
        for row, tokens in zip(self.choices, encoded):
            row[[self.labels.index(token) for token in tokens]] = True

    def encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def _token(self, label: str) -> int:
        ids = self.encode(label)
        if len(ids) != 1:
            raise ValueError(f"the label {label!r} has to be one token")
        return ids[0]

    def question(self, task: str, k: int, j: int = 0) -> list[int]:
        """Messages are counted from 0 here, from 1 in the text."""
        key = (task, k, j)
        if key not in self._questions:
            self._questions[key] = self.encode(tasks.question(task, k + 1, j + 1))
        return self._questions[key]

    def answer(self, label: str) -> int:
        """Index into `labels`."""
        return self.labels.index(self._token(label))

    def message(self, text: str, area: int, intent: int) -> Message:
        return Message(tuple(self.encode(f" {text}\n")), area, intent)

    def check(self, texts: list[str]) -> None:
        """Pieces put together have to be the tokens of the whole prompt."""
        whole = HEADER + "".join(f"{n}. {text}\n" for n, text in enumerate(texts, 1))
        pieces = list(self.header)
        for number, text in enumerate(texts):
            pieces += self.number[number] + self.encode(f" {text}\n")
        for task in tasks.TASKS:
            ends = tasks.question(task, 2, 1) + " yes\n"
            asked = self.question(task, 1, 0) + [self._token(tasks.YES)] + self.newline
            if self._tokenizer.encode(whole + ends).ids != pieces + asked:
                raise ValueError(f"this inbox does not split into its pieces: {whole + ends!r}")


Labelled = list[tuple[str, int, int]]  # (message, area, intent)


def load_clinc(folder: pathlib.Path, split: str) -> Labelled:
    """One split of CLINC150 with what is out of scope there."""
    messages = make_prompts.load_messages(folder / "clinc_full.json",
                                          folder / "clinc_domains.json", split)
    number = {intent: i for i, (_, intent) in enumerate(INTENTS)}
    return [(m.text, AREAS.index(m.area), number[m.intent]) if m.area else (m.text, NONE, NONE)
            for m in messages]


def load_banking(folder: pathlib.Path) -> Labelled:
    """Banking77's training messages, lower-cased as CLINC's are. Their intents are others."""
    bank, card = 0, 1
    with open(folder / "bank_train.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [(" ".join(row["text"].lower().split()), card if "card" in row["category"] else bank,
             NONE) for row in rows]


def load_sentences(folder: pathlib.Path) -> Labelled:
    """Short sentences of stories: messages of no area, beside the hundred that CLINC has."""
    text = (folder / "tinystories_lower_4MB.txt").read_text(encoding="utf-8")
    found = re.findall(r"(?<=[.!?] )[a-z][a-z' ]{15,70}(?=[.!?])", text)
    return [(sentence, NONE, NONE) for sentence in found[:4000]]


def with_words_dropped(messages: Labelled, rng: random.Random) -> Labelled:
    """Every message of five words and more again, a word of it left out."""
    shorter = []
    for text, area, intent in messages:
        words = text.split()
        if len(words) >= 5:
            del words[rng.randrange(len(words))]
            shorter.append((" ".join(words), area, intent))
    return messages + shorter


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
    SENTENCE_SHARE = 0.4

    def __init__(self, clinc: list[Message], banking: list[Message], sentences: list[Message]):
        self._clinc = [[m for m in clinc if m.area == area] for area in range(len(AREAS))]
        self._banking = [[m for m in banking if m.area == area] for area in range(len(AREAS))]
        self._outside = [m for m in clinc if m.area == NONE]
        self._sentences = sentences

    def draw(self, rng: random.Random, area: int | None = None) -> Message:
        area = rng.randrange(len(AREAS)) if area is None else area
        extra = self._banking[area]
        if extra and rng.random() < self.BANKING_SHARE:
            return rng.choice(extra)
        return rng.choice(self._clinc[area])

    def draw_outside(self, rng: random.Random) -> Message:
        if self._sentences and rng.random() < self.SENTENCE_SHARE:
            return rng.choice(self._sentences)
        return rng.choice(self._outside)
