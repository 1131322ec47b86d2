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

from data import MAX_MESSAGES, Frame, MessagePool, load_clinc, split_texts, tokenize_texts
from losses import token_losses
from model import Llama, load_folder
from packing import IGNORE, Row, collate, fill_row, text_row


@dataclass
class Answers:
    """Of every question: the area, the inbox's size, and what is answered at full depth."""

    areas: Tensor
    sizes: Tensor
    full: Tensor
    lens: Tensor  # (layers - 1, questions), from layer 1
    spade: Tensor


@torch.no_grad()
def ask(model: Llama, rows: list[Row], labels: list[int], at_once: int = 16) -> Answers:
    parts = defaultdict(list)
    depth = model.config.num_hidden_layers
    for begin in range(0, len(rows), at_once):
        batch = collate(rows[begin:begin + at_once])
        climb = model(batch.ids, batch.positions, batch.mask)
        asked = (batch.answers.flatten() != IGNORE).nonzero()[:, 0]
        positions = batch.positions.flatten()[asked]
        best = lambda x: model.logits(x, labels).argmax(-1)
        state = lambda layer: climb.states[layer].flatten(0, 1)[asked]
        parts["areas"].append(batch.answers.flatten()[asked])
        parts["sizes"].append(batch.sizes.flatten()[asked])
        parts["full"].append(best(state(depth)))
        parts["lens"].append(torch.stack([best(state(layer)) for layer in range(1, depth)]))
        ends = [model.spade(climb, asked, torch.full_like(asked, layer), positions)
                for layer in range(1, depth)]
        parts["spade"].append(torch.stack([best(end) for end in ends]))
    return Answers(**{name: torch.cat(part, dim=-1) for name, part in parts.items()})


def table(answers: Answers) -> str:
    right = answers.full == answers.areas
    lines = [f"questions {len(right)}  accuracy {right.float().mean():.3f}"]
    sizes = sorted(set(answers.sizes.tolist()))
    lines.append("messages " + "  ".join(
        f"{size}:{right[answers.sizes == size].float().mean():.3f}" for size in sizes))
    lines.append("layer  lens acc/agree  SPADE acc/agree  SPADE agree at 1-2 messages")
    few = answers.sizes <= 2
    share = lambda same: same.float().mean().item()
    for i, (lens, spade) in enumerate(zip(answers.lens, answers.spade)):
        agrees = spade == answers.full
        lines.append(f"{i + 1:5}"
                     f"  {share(lens == answers.areas):.3f}/{share(lens == answers.full):.3f}"
                     f"     {share(spade == answers.areas):.3f}/{share(agrees):.3f}"
                     f"      {share(agrees[few]):.3f}")
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
    parser.add_argument("--rows", type=int, default=60, help="of each number of messages")
    parser.add_argument("--texts", type=pathlib.Path, help="token cache; also reports perplexity")
    args = parser.parse_args()

    tokenizer = Tokenizer.from_file(str(args.model / "tokenizer.json"))
    model, frame = load_folder(args.model), Frame(tokenizer)
    length = model.config.max_position_embeddings
    pool = MessagePool([frame.message(*m) for m in load_clinc(args.data, args.split)], [])
    rng = random.Random(3)
    rows = [fill_row(rng, frame, pool, [size], length, in_order=0.0)
            for size in range(1, MAX_MESSAGES + 1) for _ in range(args.rows)]
    print(table(ask(model, rows, frame.labels)))
    if args.texts:
        _, held_out = split_texts(tokenize_texts(args.data, tokenizer, args.texts))
        print(perplexities(model, held_out, length, rows=96))


if __name__ == "__main__":
    main()
