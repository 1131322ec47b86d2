#!/usr/bin/env python3
"""Accuracy by number of messages and by exit layer on held-out messages, and perplexity of text."""

import argparse
import math
import pathlib
import random
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from data import Frame, MessagePool, load_clinc, split_texts, tasks, tokenize_texts
from losses import among, token_losses
from model import Llama, load_folder
from packing import IGNORE, Row, collate, fill_row, text_row

TEXT_LENGTH = 256  # tokens of plain text that perplexity is of
SIZES = (1, 2, 3, 4, 6, 8, 10, 12, 16, 24, 32, 40, 48, 56)


@dataclass
class Answers:
    """Of every question: its task, the answer, the inbox's size, and what the model answers."""

    tasks: Tensor
    right: Tensor
    sizes: Tensor
    full: Tensor
    lens: Tensor  # (layers - 1, questions), from layer 1
    spade: Tensor


@torch.no_grad()
def ask(model: Llama, rows: list[Row], frame: Frame, tokens_at_once: int = 4096) -> Answers:
    parts = defaultdict(list)
    depth, at_once = model.config.num_hidden_layers, max(1, tokens_at_once // len(rows[0].ids))
    choices = torch.from_numpy(frame.choices)
    for begin in range(0, len(rows), at_once):
        batch = collate(rows[begin:begin + at_once])
        climb = model(batch.ids, batch.positions, batch.mask)
        asked = (batch.answers.flatten() != IGNORE).nonzero()[:, 0]
        positions = batch.positions.flatten()[asked]
        allowed = choices[batch.choices.flatten()[asked]]
        best = lambda x: among(model.logits(x, frame.labels), allowed).argmax(-1)
        state = lambda layer: climb.states[layer].flatten(0, 1)[asked]
        parts["tasks"].append(batch.tasks.flatten()[asked])
        parts["right"].append(batch.answers.flatten()[asked])
        parts["sizes"].append(batch.sizes.flatten()[asked])
        parts["full"].append(best(state(depth)))
        parts["lens"].append(torch.stack([best(state(layer)) for layer in range(1, depth)]))
        ends = [model.spade(climb, asked, torch.full_like(asked, layer), positions)
                for layer in range(1, depth)]
        parts["spade"].append(torch.stack([best(end) for end in ends]))
    return Answers(**{name: torch.cat(part, dim=-1) for name, part in parts.items()})


def share(same: Tensor) -> str:
    return f"{same.float().mean().item():.3f}" if same.numel() else "    -"


def table(answers: Answers) -> str:
    bounds = [size for size in SIZES if size <= answers.sizes.max()]
    present = [t for t in range(len(tasks.TASKS)) if (answers.tasks == t).any()]
    lines = ["messages to   all  " + "  ".join(f"{bound:5}" for bound in bounds)]
    for task in present:
        right = (answers.full == answers.right)[answers.tasks == task]
        sizes = answers.sizes[answers.tasks == task]
        by_size = [share(right[(sizes > below) & (sizes <= bound)])
                   for below, bound in zip([0] + bounds, bounds)]
        lines.append(f"{tasks.TASKS[task]:7} {len(right):5} {share(right)}  " + "  ".join(by_size))
    lines.append("after layer, accuracy/agreement with full depth: lens SPADE, "
                 + ", ".join(tasks.TASKS[t] for t in present))
    for layer, (lens, spade) in enumerate(zip(answers.lens, answers.spade), 1):
        cells = []
        for task in present:
            of = answers.tasks == task
            cells += [f"{share((way == answers.right)[of])}/{share((way == answers.full)[of])}"
                      for way in (lens, spade)]
        lines.append(f"{layer:5}  " + "  ".join(cells))
    return "\n".join(lines)


@torch.no_grad()
def perplexities(model: Llama, texts: dict[str, np.ndarray], length: int, rows: int = 24) -> str:
    out = []
    for name, ids in texts.items():
        rng = random.Random(2)
        batch = collate([text_row(rng, ids, length) for _ in range(rows)])
        climb = model(batch.ids, batch.positions, batch.mask)
        loss = token_losses(model, climb, batch)["text"].item()
        out.append(f"{name} {math.exp(loss):.1f}")
    return "perplexity " + ", ".join(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=pathlib.Path, required=True)
    parser.add_argument("--data", type=pathlib.Path, required=True, help="folder, see README.md")
    parser.add_argument("--split", default="test", choices=("train", "val", "test"))
    parser.add_argument("--rows", type=int, default=40, help="of each number of messages")
    parser.add_argument("--texts", type=pathlib.Path, help="token cache; also reports perplexity")
    args = parser.parse_args()

    tokenizer = Tokenizer.from_file(str(args.model / "tokenizer.json"))
    model, frame = load_folder(args.model), Frame(tokenizer)
    length = model.config.max_position_embeddings
    messages = [frame.message(*m) for m in load_clinc(args.data, args.split)]
    pool, rng = MessagePool(messages, [], []), random.Random(3)
    rows = [fill_row(rng, frame, pool, [size], length, in_order=0.0)
            for size in SIZES for _ in range(args.rows)]
    print(table(ask(model, rows, frame)))
    if args.texts:
        _, held_out = split_texts(tokenize_texts(args.data, tokenizer, args.texts))
        print(perplexities(model, held_out, TEXT_LENGTH, rows=96))


if __name__ == "__main__":
    main()
