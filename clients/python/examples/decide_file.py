#!/usr/bin/env python3
"""Answers every line of a JSONL file ({"prompt": ..., "label": ... (optional)}) in bulk.

    examples/decide_file.py --labels " bank, card, food, ..." questions.jsonl > answers.jsonl

Prints a progress bar, then how many were right (where labels are known), the mean exit layer and
the share of compute saved. Modes "fast" and "verified" need --max-mismatch.
"""
import argparse
import json
import sys
import time

from spade_client import Client


class ProgressBar:
    """On stderr, and only on a terminal."""

    def __init__(self, total: int, width: int = 40):
        self._total = total
        self._width = width
        self._start = time.monotonic()
        self._drawn = 0.0

    def __call__(self, done: int) -> None:
        now = time.monotonic()
        if not sys.stderr.isatty() or (now - self._drawn < 0.1 and done < self._total):
            return
        self._drawn = now
        filled = self._width * done // self._total
        rate = done / max(now - self._start, 1e-9)
        bar = "#" * filled + "." * (self._width - filled)
        end = "\n" if done == self._total else ""
        print(f"\r[{bar}] {done}/{self._total}  {rate:.0f}/s", end=end, file=sys.stderr, flush=True)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--address", default="127.0.0.1:50051")
    parser.add_argument("--labels", required=True, help="comma-separated, each with its space")
    parser.add_argument("--mode", choices=["exact", "verified", "fast"], default="exact")
    parser.add_argument("--max-mismatch", type=float)
    parser.add_argument("--max-in-flight", type=int, default=64)
    return parser.parse_args()


def main() -> int:
    arguments = parse_arguments()
    with open(arguments.file, encoding="utf-8") as lines:
        questions = [json.loads(line) for line in lines]
    decisions, failed, right, labelled = [], 0, 0, 0
    with Client(arguments.address) as client:
        answers = client.decide_many(
            (q["prompt"] for q in questions), arguments.labels.split(","),
            mode=arguments.mode, max_mismatch=arguments.max_mismatch,
            max_in_flight=arguments.max_in_flight, progress=ProgressBar(len(questions)))
        for answer in answers:
            line = {"index": answer.index}
            if answer.decision is None:
                failed += 1
                line["error"] = str(answer.error)
            else:
                decisions.append(answer.decision)
                line |= {"label": answer.decision.label, "exit_layer": answer.decision.exit_layer,
                         "probability": max(answer.decision.probabilities)}
                expected = questions[answer.index].get("label")
                labelled += expected is not None
                right += expected == answer.decision.label
            print(json.dumps(line))
    if decisions:
        mean_exit = sum(d.exit_layer for d in decisions) / len(decisions)
        saved = sum(d.compute_saved for d in decisions) / len(decisions)
        accuracy = f", {right / labelled:.1%} right" if labelled else ""
        print(f"{len(decisions)} answered, {failed} failed{accuracy}; mean exit layer "
              f"{mean_exit:.2f} of {decisions[0].num_layers}, {saved:.1%} of compute saved",
              file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
