#!/usr/bin/env python3
"""Cuts openings out of plain text, to be continued by the model: one JSON object a line.

Every line holds "prompt": a few sentences' worth of words from a random place of the text, begun at
a word. No prompt comes twice, and the same arguments give the same file. The text may be compressed
(.xz). With several texts each gives its share.
"""

import argparse
import json
import lzma
import random
import sys


def read(path):
    opener = lzma.open if path.endswith(".xz") else open
    with opener(path, "rt", encoding="utf-8") as file:
        return file.read()


def make_prompt(rng, words, min_words, max_words):
    count = rng.randint(min_words, max_words)
    begin = rng.randrange(len(words) - count)
    return " ".join(words[begin:begin + count])


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", required=True, action="append", help="may be given again")
    parser.add_argument("--count", type=int, default=4000)
    parser.add_argument("--min-words", type=int, default=8)
    parser.add_argument("--max-words", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", default="-", help="- for standard output")
    args = parser.parse_args()

    texts = [read(path).split() for path in args.text]
    if args.count < 1 or not 0 < args.min_words <= args.max_words < min(map(len, texts)):
        parser.error("--count or the numbers of words do not fit the texts")
    rng = random.Random(args.seed)
    out = sys.stdout if args.out == "-" else open(args.out, "w", encoding="utf-8")
    with out:
        seen = set()
        while len(seen) < args.count:
            prompt = make_prompt(rng, texts[len(seen) % len(texts)], args.min_words, args.max_words)
            if prompt in seen:
                continue
            seen.add(prompt)
            out.write(json.dumps({"prompt": prompt}) + "\n")


if __name__ == "__main__":
    main()
