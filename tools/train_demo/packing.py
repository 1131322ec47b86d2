"""Rows of token ids in which many inboxes share one header, and every question sees its inbox only.

A token belongs to an inbox (0: the header, or plain text) and to a question (0: none). It attends
to earlier tokens of the header, of its inbox and of its question, so that a question is read as if
it stood alone after the inbox: what the server is asked. Positions count what a token can see.
"""

import random
from dataclasses import dataclass, field

import numpy as np
import torch

from data import BOS, EOS, Frame, MessagePool
from inbox import TASK_SHARES, Inbox, draw_inbox

IGNORE = -100
MOST_MISSES = 3  # inboxes drawn that do not fit before a row counts as full
# Columns of a row that say what is learned at a token, IGNORE where nothing is.
LEARNED = ("targets", "answers", "choices", "tasks", "sizes", "areas", "intents", "numbers",
           "named")


@dataclass
class Row:
    ids: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    inboxes: list[int] = field(default_factory=list)
    questions: list[int] = field(default_factory=list)
    targets: list[int] = field(default_factory=list)  # next token, where it is learned
    answers: list[int] = field(default_factory=list)  # label, where the next token is the answer
    choices: list[int] = field(default_factory=list)  # labels it is among (row of Frame.choices)
    tasks: list[int] = field(default_factory=list)  # what is asked there
    sizes: list[int] = field(default_factory=list)  # messages of the inbox, there too
    areas: list[int] = field(default_factory=list)  # of a message, at its last token
    intents: list[int] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    named: list[int] = field(default_factory=list)  # area of a message that the question names

    def add(self, ids, position, inbox, question):
        count = len(ids)
        self.ids += ids
        self.positions += range(position, position + count)
        self.inboxes += [inbox] * count
        self.questions += [question] * count
        for name in LEARNED:
            column = getattr(self, name)
            column += [IGNORE] * count
        return position + count

    def pad(self, length):
        # Padding sees nothing that is learned from, and nothing sees it.
        self.add([EOS] * (length - len(self.ids)), 0, -1, -1)


def inbox_length(frame: Frame, inbox: Inbox) -> int:
    length = sum(len(frame.number[i]) + len(m.ids) for i, m in enumerate(inbox.messages))
    extra = 2 if inbox.in_order else 0
    return length + sum(len(question.ids) + extra for question in inbox.asked)


def add_inbox(row: Row, frame: Frame, inbox: Inbox, number: int) -> None:
    at = len(frame.header)
    for i, message in enumerate(inbox.messages):
        at = row.add(frame.number[i] + list(message.ids), at, number, 0)
        row.areas[-1], row.intents[-1], row.numbers[-1] = message.area, message.intent, i
    for turn, question in enumerate(inbox.asked):
        group = 0 if inbox.in_order else len(row.ids)
        end = row.add(list(question.ids), at, number, group)
        row.targets[-1], row.answers[-1] = frame.labels[question.answer], question.answer
        row.choices[-1], row.tasks[-1] = question.choices, question.task
        for back, area in question.named:
            row.named[-back] = area
        row.sizes[-1] = len(inbox.messages)
        if inbox.in_order:
            at = _add_answer(row, frame, inbox, turn, end, number)


def _add_answer(row, frame, inbox, turn, at, number):
    """The answer's token and the targets of everything that Generate writes from it on."""
    question = inbox.asked[turn]
    if turn > 0:
        for i in range(len(row.ids) - len(question.ids), len(row.ids)):
            row.targets[i - 1] = row.ids[i]
    at = row.add([frame.labels[question.answer]] + frame.newline, at, number, 0)
    row.targets[-2] = row.ids[-1]
    if turn == len(inbox.asked) - 1:
        row.targets[-1] = EOS
    return at


def fill_row(rng: random.Random, frame: Frame, pool: MessagePool, sizes: list[int], length: int,
             in_order: float = 0.25, shares: dict[str, float] = TASK_SHARES) -> Row:
    """Inboxes with their questions, as many as fit; at least one."""
    row = Row()
    row.add(list(frame.header), 0, 0, 0)
    misses = 0
    while misses < MOST_MISSES:
        inbox = draw_inbox(rng, frame, pool, sizes, in_order, shares)
        alone = row.inboxes[-1] == 0
        while alone and len(row.ids) + inbox_length(frame, inbox) > length and inbox.asked:
            inbox.asked.pop()
        if len(row.ids) + inbox_length(frame, inbox) > length:
            misses += 1
        else:
            add_inbox(row, frame, inbox, row.inboxes[-1] + 1)
    row.pad(length)
    return row


def text_row(rng: random.Random, text: np.ndarray, length: int) -> Row:
    begin = rng.randrange(len(text) - length)
    ids = [BOS] + text[begin:begin + length].tolist()
    row = Row()
    row.add(ids[:-1], 0, 0, 0)
    row.targets = ids[1:]
    return row


@dataclass
class Batch:
    ids: torch.Tensor
    positions: torch.Tensor
    mask: torch.Tensor  # (rows, length, length), added to attention scores
    targets: torch.Tensor
    answers: torch.Tensor
    choices: torch.Tensor
    tasks: torch.Tensor
    sizes: torch.Tensor
    areas: torch.Tensor
    intents: torch.Tensor
    numbers: torch.Tensor
    named: torch.Tensor


def collate(rows: list[Row]) -> Batch:
    def column(name):
        return torch.from_numpy(np.array([getattr(row, name) for row in rows], dtype=np.int64))

    inboxes, questions = column("inboxes"), column("questions")
    length = inboxes.shape[1]
    sees = torch.ones(length, length, dtype=torch.bool).tril()
    for group in (inboxes, questions):
        sees = sees & ((group[:, None, :] == 0) | (group[:, None, :] == group[:, :, None]))
    mask = torch.zeros(sees.shape, dtype=torch.bfloat16).masked_fill_(~sees, -torch.inf)
    return Batch(column("ids"), column("positions"), mask, **{n: column(n) for n in LEARNED})
