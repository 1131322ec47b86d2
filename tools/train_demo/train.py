#!/usr/bin/env python3
"""Trains a bundled decision model: inboxes with early exits in the loop, and plain text.

The run is bounded by --minutes of training; its learning rate follows the time used. It writes a
checkpoint every --save-minutes and goes on from it when started again. Under torchrun the
processes share every step: each computes its own rows, and gradients are averaged. See README.md.
"""

import argparse
import math
import os
import pathlib
import random
import time
from dataclasses import asdict

import torch
import torch.distributed as dist
from tokenizers import Tokenizer

from data import (AREAS, INTENTS, MAX_MESSAGES, Frame, MessagePool, load_banking, load_clinc,
                  load_sentences, split_texts, tokenize_texts, with_words_dropped)
from evaluate import ask, perplexities, table
from losses import Probes, Weights, answer_losses, token_losses
from model import grow, load_folder
from packing import Batch, collate, fill_row, text_row

TEXT_SHARES = {"novels": 0.5, "stories": 0.4, "wikitext": 0.1}
LONG_EVERY = 4  # one step in so many is of rows that fill the context
SHORT_MESSAGES = 12  # at most, in an inbox of the other steps


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, required=True, help="folder, see README.md")
    parser.add_argument("--from-model", type=pathlib.Path, required=True,
                        help="model folder to begin from, with its tokenizer")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="folder for checkpoints")
    parser.add_argument("--minutes", type=float, default=80)
    parser.add_argument("--save-minutes", type=float, default=4)
    parser.add_argument("--layers", type=int, default=16)
    parser.add_argument("--context", type=int, default=1024)
    parser.add_argument("--tokens", type=int, default=2048, help="a step and process")
    parser.add_argument("--text-share", type=float, default=0.25, help="of the rows, plain text")
    parser.add_argument("--length", type=int, default=256, help="of a row, but in long steps")
    parser.add_argument("--rate", type=float, default=1.5e-3)
    parser.add_argument("--threads", type=int, default=1, help="of a process")
    parser.add_argument("--seed", type=int, default=8)
    parser.add_argument("--compile", action="store_true",
                        help="compile layers (needs g++, takes minutes, half as fast again)")
    return parser.parse_args()


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def average(parameters: list[torch.nn.Parameter], seconds: float) -> float:
    """Averages gradients over the processes, and the time used, which steers all alike."""
    if not dist.is_initialized():
        return seconds
    flat = torch.cat([p.grad.flatten() for p in parameters] + [torch.tensor([seconds])])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for p, part in zip(parameters, flat[:-1].split([p.numel() for p in parameters])):
        p.grad.copy_(part.view_as(p))
    return flat[-1].item()


class Source:
    """Batches: a seeded stream that depends on nothing but the seed and how far training is."""

    def __init__(self, args: argparse.Namespace, tokenizer: Tokenizer):
        self._args, self._rng = args, random.Random()
        self.frame = Frame(tokenizer)
        train = load_clinc(args.data, "train")
        self.frame.check([text for text, _, _ in train[:MAX_MESSAGES]])
        rng = random.Random(1)
        self._pool = MessagePool(*(
            [self.frame.message(*m) for m in with_words_dropped(messages, rng)]
            for messages in (train, load_banking(args.data), load_sentences(args.data))))
        held_out = MessagePool([self.frame.message(*m) for m in load_clinc(args.data, "val")],
                               [], [])
        self.val_rows = [fill_row(rng, self.frame, held_out, list(range(1, SHORT_MESSAGES + 1)),
                                  args.length, in_order=0.0) for _ in range(80)]
        self.val_long = [fill_row(rng, self.frame, held_out, list(range(13, MAX_MESSAGES + 1)),
                                  args.context, in_order=0.0) for _ in range(12)]
        texts = tokenize_texts(args.data, tokenizer, args.out / "texts.npz")
        self._texts, self.held_out = split_texts(texts)

    def seed(self, *parts: int) -> None:
        self._rng.seed(str(parts))

    def batch(self, step: int) -> Batch:
        args, rng = self._args, self._rng
        if step % LONG_EVERY == 0:
            length, sizes = args.context, list(range(8, MAX_MESSAGES + 1))
        else:
            length, sizes = args.length, [1, 1, 2, 2, 3, 4] + list(range(3, SHORT_MESSAGES + 1))
        rows = []
        for _ in range(args.tokens // length):
            if rows and rng.random() < args.text_share:
                name = rng.choices(list(TEXT_SHARES), list(TEXT_SHARES.values()))[0]
                rows.append(text_row(rng, self._texts[name], length))
            else:
                rows.append(fill_row(rng, self.frame, self._pool, sizes, length))
        return collate(rows)


def make_optimizer(modules: torch.nn.Module, rate: float) -> torch.optim.Optimizer:
    matrices = [p for p in modules.parameters() if p.ndim == 2]
    vectors = [p for p in modules.parameters() if p.ndim != 2]
    groups = [dict(params=matrices, weight_decay=0.05), dict(params=vectors, weight_decay=0.0)]
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.95), fused=True)


class Trainer:
    def __init__(self, args: argparse.Namespace):
        self.args, self.weights = args, Weights()
        tokenizer = Tokenizer.from_file(str(args.from_model / "tokenizer.json"))
        self.source = Source(args, tokenizer)
        self.choices = torch.from_numpy(self.source.frame.choices)
        self.model = grow(load_folder(args.from_model), args.layers, args.context)
        self.probes = Probes(self.model.config.hidden_size, {
            "areas": len(AREAS), "intents": len(INTENTS), "numbers": MAX_MESSAGES,
            "named": len(AREAS)})
        self.both = torch.nn.ModuleList([self.model, self.probes])
        self.optimizer = make_optimizer(self.both, args.rate)
        self.seconds, self.step, self.tokens = 0.0, 0, 0
        self.checkpoint = args.out / "checkpoint.pt"
        if self.checkpoint.exists():
            self._resume()
        # After a stop the stream goes on with other draws than those already learned from.
        self.source.seed(args.seed, rank(), self.step)
        self.generator = torch.Generator().manual_seed(args.seed + 1000 * rank() + self.step)
        if args.compile:
            torch._dynamo.config.recompile_limit = 128  # a layer is a variant for each length
            for layer in self.model.layers:
                layer.compile(dynamic=False)

    def _resume(self) -> None:
        saved = torch.load(self.checkpoint, weights_only=True)
        self.both.load_state_dict(saved["both"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.seconds, self.step, self.tokens = saved["seconds"], saved["step"], saved["tokens"]
        if rank() == 0:
            print(f"resumed at step {self.step}, {self.seconds / 60:.1f} minutes", flush=True)

    def save(self) -> None:
        state = dict(both=self.both.state_dict(), optimizer=self.optimizer.state_dict(),
                     config=asdict(self.model.config), seconds=self.seconds, step=self.step,
                     tokens=self.tokens)
        partial = self.checkpoint.with_suffix(".partial")
        torch.save(state, partial)
        partial.rename(self.checkpoint)

    def progress(self) -> float:
        return min(1.0, self.seconds / (60 * self.args.minutes))

    def train_step(self) -> dict[str, float]:
        begin, progress = time.monotonic(), self.progress()
        rate = self.args.rate * min(1.0, (self.step + 1) / 100)
        rate *= 0.5 * (1 + math.cos(math.pi * progress)) + 0.01
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        batch = self.source.batch(self.step)
        with torch.autocast("cpu", torch.bfloat16):
            climb = self.model(batch.ids, batch.positions, batch.mask)
            losses = answer_losses(self.model, climb, batch, self.source.frame.labels,
                                   self.choices, self.weights, self.generator)
            losses |= token_losses(self.model, climb, batch)
            losses["probe"] = self.probes.loss(climb, batch)
            total = sum(getattr(self.weights, name) * loss for name, loss in losses.items())
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        self.seconds = average(list(self.both.parameters()),
                               self.seconds + time.monotonic() - begin)
        torch.nn.utils.clip_grad_norm_(self.both.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        self.tokens += batch.ids.numel() * (dist.get_world_size() if dist.is_initialized() else 1)
        return {name: loss.item() for name, loss in losses.items()}

    def report(self) -> None:
        self.model.eval()
        with torch.autocast("cpu", torch.bfloat16):
            answers = [ask(self.model, rows, self.source.frame)
                       for rows in (self.source.val_rows, self.source.val_long)]
            text = perplexities(self.model, self.source.held_out, self.args.length)
        self.model.train()
        print(f"-- step {self.step}, {self.tokens / 1e6:.2f}M tokens, "
              f"{self.seconds / 60:.1f} minutes\n{table(answers[0])}\n{table(answers[1])}\n{text}",
              flush=True)

    def run(self) -> None:
        saved, means = self.seconds, {}
        while self.progress() < 1.0:
            losses = self.train_step()
            for name, loss in losses.items():
                means[name] = means.get(name, loss) * 0.95 + loss * 0.05
            if rank() == 0 and self.step % 20 == 0:
                shown = " ".join(f"{name} {loss:.3f}" for name, loss in means.items())
                print(f"step {self.step} {self.tokens / self.seconds:.0f} tokens/s {shown}",
                      flush=True)
            if self.seconds - saved > 60 * self.args.save_minutes:
                saved = self.seconds
                self.finish_part()
        self.finish_part()

    def finish_part(self) -> None:
        if rank() == 0:
            self.save()
            self.report()
        if dist.is_initialized():
            dist.barrier()


def main() -> None:
    args = parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    if "WORLD_SIZE" in os.environ:
        dist.init_process_group("gloo")
    if rank() == 0:
        print({**vars(args), **asdict(Weights())}, flush=True)
    Trainer(args).run()


if __name__ == "__main__":
    main()
