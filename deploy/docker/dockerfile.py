"""Reads a Dockerfile as far as ours goes: stages of plain instructions."""

import dataclasses
import json
import re
import shlex


@dataclasses.dataclass
class Stage:
    name: str
    base: str  # an image, or an earlier stage
    steps: list = dataclasses.field(default_factory=list)  # (instruction, its text)


def instructions(text):
    """(word, rest) of each instruction; comment lines between continued lines are left out."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for line in re.sub(r"\\\n", " ", "\n".join(lines)).splitlines():
        if line.strip():
            word, _, rest = line.strip().partition(" ")
            yield word.upper(), rest.strip()


def read(path):
    """Stages by name, in order."""
    stages = {}
    stage = None
    for word, rest in instructions(path.read_text(encoding="utf-8")):
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            stage = Stage(name or base, base)
            stages[stage.name] = stage
        else:
            stage.steps.append((word, rest))
    return stages


def chain(stages, name):
    """The stages from the image up to `name`."""
    found = []
    while name in stages:
        found.insert(0, stages[name])
        name = stages[name].base
    return found


def copy_of(rest):
    """(stage or None, sources, destination) of a COPY."""
    words = shlex.split(rest)
    stage = None
    if words[0].startswith("--from="):
        stage = words.pop(0).removeprefix("--from=")
    return stage, words[:-1], words[-1]


def variables_of(rest):
    """The pairs of an ENV or a LABEL; of an ARG that has a default."""
    return dict(word.split("=", 1) for word in shlex.split(rest) if "=" in word)


def command_of(rest):
    """The words of a command in JSON form, which HEALTHCHECK's comes in after CMD."""
    return json.loads(rest[rest.index("["):])
