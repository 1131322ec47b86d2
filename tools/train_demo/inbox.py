"""Inboxes drawn at random, and the questions that are asked about them."""

import random
from dataclasses import dataclass

from data import AREAS, INTENTS, NONE, Frame, Message, MessagePool, tasks

OUTSIDE_SHARE = 0.06  # of messages, where one may be out of scope
TWIN_SHARE = 0.4  # of inboxes in which a message takes another's area, for `same`
TASK_SHARES = {"area": 0.35, "intent": 0.35, "same": 0.2, "scope": 0.1}
MOST_ASKED = 40


@dataclass(frozen=True)
class Question:
    task: int  # of tasks.TASKS
    ids: tuple[int, ...]
    answer: int  # of Frame.labels
    choices: int  # row of Frame.choices
    named: tuple[tuple[int, int], ...] = ()  # of `same`: (tokens from the end, area) at each number


@dataclass
class Inbox:
    messages: list[Message]
    asked: list[Question]
    in_order: bool  # areas one after another in the text, as Generate writes them


def name_of(area: int) -> str | None:
    return None if area == NONE else AREAS[area]


def ask(frame: Frame, task: str, messages: list[Message], k: int, j: int = 0) -> Question:
    area = messages[k].area
    intent = None if messages[k].intent == NONE else INTENTS[messages[k].intent][1]
    label = tasks.answer(task, name_of(area), intent, name_of(messages[j].area))
    choices = {"area": 0, "intent": 1 + area}.get(task, 1 + len(AREAS))
    named = ()
    if task == "same":  # "... J and K:"
        named = ((2 + len(frame.encode(f" and {k + 1}")), messages[j].area), (2, area))
    return Question(tasks.TASKS.index(task), tuple(frame.question(task, k, j)),
                    frame.answer(label), choices, named)


def draw_pair(rng: random.Random, messages: list[Message]) -> tuple[int, int] | None:
    """Two messages that have areas, alike as often as not where the inbox allows it."""
    inside = [i for i, m in enumerate(messages) if m.area != NONE]
    if len(inside) < 2:
        return None
    j = rng.choice(inside)
    wants_same = rng.random() < 0.5
    fits = [i for i in inside if i != j and
            (messages[i].area == messages[j].area) == wants_same]
    k = rng.choice(fits or [i for i in inside if i != j])
    return min(j, k), max(j, k)


def draw_question(rng: random.Random, frame: Frame, messages: list[Message],
                  task: str) -> Question | None:
    """None: this inbox has nothing to ask of that kind."""
    if task == "same":
        pair = draw_pair(rng, messages)
        return pair and ask(frame, task, messages, pair[1], pair[0])
    outside = [i for i, m in enumerate(messages) if m.area == NONE]
    fits = {"area": [i for i, m in enumerate(messages) if m.area != NONE],
            "intent": [i for i, m in enumerate(messages) if m.intent != NONE],
            "scope": outside if outside and rng.random() < 0.5 else range(len(messages))}[task]
    return ask(frame, task, messages, rng.choice(fits)) if fits else None


def draw_messages(rng: random.Random, pool: MessagePool, count: int) -> list[Message]:
    messages = [pool.draw(rng) for _ in range(count)]
    if count > 1 and rng.random() < TWIN_SHARE:
        j, k = rng.sample(range(count), 2)
        messages[k] = pool.draw(rng, messages[j].area)
    return messages


def draw_inbox(rng: random.Random, frame: Frame, pool: MessagePool, sizes: list[int],
               in_order: float, shares: dict[str, float]) -> Inbox:
    count = rng.choice(sizes)
    messages = draw_messages(rng, pool, count)
    if rng.random() < in_order:
        first = rng.randrange(count)
        last = min(count, first + MOST_ASKED)
        return Inbox(messages, [ask(frame, "area", messages, k) for k in range(first, last)], True)
    if shares.get("scope"):
        messages = [pool.draw_outside(rng) if rng.random() < OUTSIDE_SHARE else m
                    for m in messages]
    kinds = rng.choices(list(shares), list(shares.values()), k=min(3 * count // 2 + 1, MOST_ASKED))
    drawn = [draw_question(rng, frame, messages, task) for task in kinds]
    asked = {question.ids: question for question in drawn if question}  # each once
    return Inbox(messages, list(asked.values()), False)
