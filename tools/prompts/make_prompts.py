#!/usr/bin/env python3
"""Builds support-inbox prompts for the bundled models from CLINC150, one JSON object a line.

Every line holds "prompt", "label" (with its leading space), "k" (messages in the inbox) and "i"
(the message asked about). What is asked is --task, see tasks.py. No prompt comes twice, and the same
arguments give the same file. --min-messages and --max-messages narrow the mix of inbox sizes.

--parts is for certificates that are to speak of new messages: it says in every line which part of a
calibration the prompt belongs to ("part"), parts share no message, and no message is asked about twice
in what certifies, so that its answers are independent.
"""

import argparse
import json
import random
import sys
from dataclasses import dataclass

import tasks

# Drawn from uniformly: two and three messages come twice as often as other sizes.
INBOX_SIZES = (1, 2, 2, 3, 3, 4, 5, 6, 7, 8, 10, 12, 16, 24, 32, 48)
OUTSIDE_SHARE = 0.06  # of an inbox's other messages, where scope is asked


@dataclass(frozen=True, order=True)
class Message:
    text: str
    area: str  # "" where out of scope, so is the intent
    intent: str


def load_messages(clinc, domains, split):
    """The messages of one split of CLINC150 with those out of scope."""
    with open(domains, encoding="utf-8") as file:
        area_of = {intent: tasks.AREAS[domain] for domain, intents in json.load(file).items()
                   for intent in intents}
    with open(clinc, encoding="utf-8") as file:
        splits = json.load(file)
    inside = [Message(text, area_of[intent], intent) for text, intent in splits[split]]
    return inside + [Message(text, "", "") for text, _ in splits["oos_" + split]]


class Asker:
    """Puts one kind of question about one message of an inbox."""

    def __init__(self, task, area=None):
        self._task, self._area = task, area

    def askable(self, messages):
        """The messages that it can ask about."""
        if self._task == "scope":
            return messages
        return [m for m in messages if m.area and self._area in (None, m.area)]

    def make_prompt(self, rng, messages, sizes, asked):
        """An inbox of `messages` with `asked` in it. sizes: of inboxes, two or more for `same`."""
        count, inside = rng.choice(sizes), [m for m in messages if m.area]
        outside = [m for m in messages if not m.area] if self._task == "scope" else []
        inbox = [rng.choice(outside if outside and rng.random() < OUTSIDE_SHARE else inside)
                 for _ in range(count)]
        place, other = rng.randrange(count), None
        if self._task == "same":
            other, place = sorted(rng.sample(range(count), 2))
            alike = rng.random() < 0.5
            inbox[other] = rng.choice([m for m in inside if (m.area == asked.area) == alike])
        inbox[place] = asked
        lines = [tasks.HEADER]
        lines += [f"{number}. {message.text}" for number, message in enumerate(inbox, start=1)]
        lines.append(tasks.question(self._task, place + 1, other is not None and other + 1))
        label = tasks.answer(self._task, asked.area or None, asked.intent,
                             other is not None and inbox[other].area)
        return {"prompt": "\n".join(lines), "label": label, "k": count, "i": place + 1}

    def draw(self, rng, messages):
        """A message to ask about; half of them out of scope where scope is asked."""
        outside = [m for m in messages if not m.area]
        if self._task == "scope" and outside and rng.random() < 0.5:
            return rng.choice(outside)
        return rng.choice([m for m in self.askable(messages) if m.area])


def make_prompts(rng, asker, messages, sizes, count, max_chars):
    """Yields `count` prompts about any of the messages."""
    seen = set()
    while len(seen) < count:
        prompt = asker.make_prompt(rng, messages, sizes, asker.draw(rng, messages))
        text = prompt["prompt"]
        if len(text) > max_chars or text in seen:
            continue
        seen.add(text)
        yield prompt


def make_independent_prompts(rng, asker, messages, sizes, count, max_chars):
    """Yields at most `count` prompts, each about another message."""
    for asked in asker.askable(messages)[:count]:
        prompt = asker.make_prompt(rng, messages, sizes, asked)
        while len(prompt["prompt"]) > max_chars:
            prompt = asker.make_prompt(rng, messages, sizes, asked)
        yield prompt


def make_parts(rng, asker, messages, sizes, count, max_chars):
    """Yields prompts of the three parts of a calibration."""
    messages = sorted(set(messages))
    rng.shuffle(messages)
    fit, validation = len(messages) * 2 // 5, len(messages) * 3 // 5
    prompts = {
        "fit": make_prompts(rng, asker, messages[:fit], sizes, count * 2 // 5, max_chars),
        "validation": make_prompts(rng, asker, messages[fit:validation], sizes, count // 5,
                                   max_chars),
        "certification": make_independent_prompts(rng, asker, messages[validation:], sizes,
                                                  count * 2 // 5, max_chars),
    }
    for part, of_part in prompts.items():
        for prompt in of_part:
            yield {**prompt, "part": part}


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clinc", required=True, help="CLINC150's data_full.json")
    parser.add_argument("--domains", required=True, help="CLINC150's domains.json")
    parser.add_argument("--split", default="val", choices=("train", "val", "test"))
    parser.add_argument("--task", default="area", choices=tasks.TASKS)
    parser.add_argument("--area", choices=tasks.INTENTS, help="of the intents asked for")
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--min-messages", type=int, default=1)
    parser.add_argument("--max-messages", type=int, default=48)
    parser.add_argument("--parts", action="store_true",
                        help="name each prompt's part of a calibration; parts share no message")
    parser.add_argument("--max-chars", type=int, default=3000,
                        help="longer prompts are drawn again; tickets-7m reads 1,024 tokens, which these "
                        "are well within; tickets-5m 256, which takes 830")
    parser.add_argument("--out", default="-", help="- for standard output")
    args = parser.parse_args()

    if (args.task == "intent") != (args.area is not None):
        parser.error("--task intent asks for intents of one --area, and only it does")
    smallest = max(args.min_messages, 2 if args.task == "same" else 1)
    sizes = [k for k in INBOX_SIZES if smallest <= k <= args.max_messages]
    if not sizes or args.count < 1:
        parser.error(f"no inbox size of {sorted(set(INBOX_SIZES))} in that range, or no prompts")
    messages = load_messages(args.clinc, args.domains, args.split)
    rng = random.Random(args.seed)
    make = make_parts if args.parts else make_prompts
    out = sys.stdout if args.out == "-" else open(args.out, "w", encoding="utf-8")
    with out:
        for prompt in make(rng, Asker(args.task, args.area), messages, sizes, args.count,
                           args.max_chars):
            out.write(json.dumps(prompt) + "\n")


if __name__ == "__main__":
    main()
