#!/usr/bin/env python3
"""Builds support-inbox prompts for the tickets-5m model from CLINC150, one JSON object a line.

Every line holds "prompt", "label" (with its leading space), "k" (messages in the inbox) and "i"
(the message asked about). No prompt comes twice, and the same arguments give the
same file. The mix of inbox sizes is that of
models/tickets-5m/calibration.jsonl; --min-messages and --max-messages narrow it.

--parts is for certificates that are to speak of new messages: it says in every line which part of a
calibration the prompt belongs to ("part"), parts share no message, and no message is asked about twice
in what certifies, so that its answers are independent.
"""

import argparse
import json
import random
import sys

AREAS = {
    "banking": "bank",
    "credit_cards": "card",
    "kitchen_and_dining": "food",
    "home": "home",
    "auto_and_commute": "car",
    "travel": "travel",
    "utility": "tools",
    "work": "work",
    "small_talk": "chat",
    "meta": "settings",
}
HEADER = "Support inbox. Each message belongs to one area: " + ", ".join(AREAS.values()) + "."
# Drawn from uniformly: two and three messages come twice as often as other sizes.
INBOX_SIZES = (1, 2, 2, 3, 3, 4, 5, 6, 7, 8, 10, 12)


def load_messages(clinc, domains, split):
    """Returns [(message, area)] of one split of CLINC150."""
    with open(domains, encoding="utf-8") as file:
        area_of = {intent: AREAS[domain] for domain, intents in json.load(file).items()
                   for intent in intents}
    with open(clinc, encoding="utf-8") as file:
        return [(text, area_of[intent]) for text, intent in json.load(file)[split]]


def make_prompt(rng, messages, sizes, asked=None):
    """`asked`: the message to ask about; None: any."""
    inbox = [rng.choice(messages) for _ in range(rng.choice(sizes))]
    place = rng.randrange(len(inbox))
    if asked is not None:
        inbox[place] = asked
    lines = [HEADER]
    lines += [f"{number}. {text}" for number, (text, _) in enumerate(inbox, start=1)]
    lines.append(f"Area of message {place + 1}:")
    return {"prompt": "\n".join(lines), "label": " " + inbox[place][1], "k": len(inbox),
            "i": place + 1}


def make_prompts(rng, messages, sizes, count, max_chars):
    """Yields `count` prompts about any of the messages."""
    seen = set()
    while len(seen) < count:
        prompt = make_prompt(rng, messages, sizes)
        text = prompt["prompt"]
        if len(text) > max_chars or text in seen:
            continue
        seen.add(text)
        yield prompt


def make_independent_prompts(rng, messages, sizes, count, max_chars):
    """Yields at most `count` prompts, each about another message."""
    for asked in messages[:count]:
        prompt = make_prompt(rng, messages, sizes, asked)
        while len(prompt["prompt"]) > max_chars:
            prompt = make_prompt(rng, messages, sizes, asked)
        yield prompt


def make_parts(rng, messages, sizes, count, max_chars):
    """Yields prompts of the three parts of a calibration."""
    messages = sorted(set(messages))
    rng.shuffle(messages)
    fit, validation = len(messages) * 2 // 5, len(messages) * 3 // 5
    prompts = {
        "fit": make_prompts(rng, messages[:fit], sizes, count * 2 // 5, max_chars),
        "validation": make_prompts(rng, messages[fit:validation], sizes, count // 5, max_chars),
        "certification": make_independent_prompts(rng, messages[validation:], sizes,
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
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--min-messages", type=int, default=1)
    parser.add_argument("--max-messages", type=int, default=12)
    parser.add_argument("--parts", action="store_true",
                        help="name each prompt's part of a calibration; parts share no message")
    parser.add_argument("--max-chars", type=int, default=830,
                        help="longer prompts are drawn again: the model reads 256 tokens")
    parser.add_argument("--out", default="-", help="- for standard output")
    args = parser.parse_args()

    sizes = [k for k in INBOX_SIZES if args.min_messages <= k <= args.max_messages]
    if not sizes or args.count < 1:
        parser.error(f"no inbox size of {sorted(set(INBOX_SIZES))} in that range, or no prompts")
    messages = load_messages(args.clinc, args.domains, args.split)
    rng = random.Random(args.seed)
    make = make_parts if args.parts else make_prompts
    out = sys.stdout if args.out == "-" else open(args.out, "w", encoding="utf-8")
    with out:
        for prompt in make(rng, messages, sizes, args.count, args.max_chars):
            out.write(json.dumps(prompt) + "\n")


if __name__ == "__main__":
    main()
