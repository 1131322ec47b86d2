"""What can be asked about an inbox, and the labels that answer it: one token each.

| task | question | labels |
|---|---|---|
| area | Area of message K: | the ten areas |
| intent | Intent of message K: | the 15 intents of its area |
| same | Same area, messages J and K: | yes, no |
| scope | Any area for message K: | yes, no |
"""

import json
import pathlib

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
TASKS = ("area", "intent", "same", "scope")
HEADER = "Support inbox. Each message belongs to one area: " + ", ".join(AREAS.values()) + "."
YES, NO = " yes", " no"

with open(pathlib.Path(__file__).with_name("intents.json"), encoding="utf-8") as _file:
    # {area: {CLINC150's intent: its label}}; CLINC's own names are several tokens each.
    INTENTS = json.load(_file)


def question(task, k, j=None):
    """The text after the messages, up to the answer. Messages are counted from 1."""
    return {
        "area": f"Area of message {k}:",
        "intent": f"Intent of message {k}:",
        "same": f"Same area, messages {j} and {k}:",
        "scope": f"Any area for message {k}:",
    }[task]


def labels(task, area=None):
    """The answers to choose from, each with its leading space; of `intent` those of one area."""
    if task == "area":
        return [" " + name for name in AREAS.values()]
    if task == "intent":
        return [" " + word for word in INTENTS[area].values()]
    return [YES, NO]


def answer(task, area, intent=None, other=None):
    """`area`, `intent`: of message K (None: it has none); `other`: the area of message J."""
    if task == "area":
        return " " + area
    if task == "intent":
        return " " + INTENTS[area][intent]
    if task == "same":
        return YES if area == other else NO
    return NO if area is None else YES
