"""Compares this tokenizer with the `tokenizers` package on random strings.

    python fuzz_against_hf.py [--cases N] [--seed N] TOOL [TOKENIZER_JSON ...]

TOOL is the tokenize_tool binary. Without files: goldens/*.tokenizer.json and the bundled model.
For each file it compares the ids (with and without special tokens) of N strings, and the text of
their ids and of N random id sequences, special tokens kept and skipped. Exit status 1 on a
mismatch.

Known differences, with `tokenizers` 0.22.1: its tables of character classes are older than ours
(words.tokenizer.json, a few strings in 10,000). 0.23 decodes added tokens that have `normalized`
set in their normalized form and does not skip them as special; 0.22 and this tokenizer do.
"""

import argparse
import json
import pathlib
import random
import subprocess
import sys

from tokenizers import Tokenizer

import random_text

HERE = pathlib.Path(__file__).parent
SHOWN = 5


def ask(tool: str, path: str, requests: list[dict]) -> list[dict]:
    lines = "".join(json.dumps(request) + "\n" for request in requests)
    done = subprocess.run([tool, path], input=lines, capture_output=True, check=False,
                          encoding="utf-8")
    if done.returncode != 0:
        sys.exit(f"{path}: {done.stderr}")
    return [json.loads(line) for line in done.stdout.split("\n") if line]


def random_ids(rng: random.Random, size: int, added: list[int]) -> list[int]:
    ids = []
    for _ in range(rng.choice([0, 1, 2, 3, 5, 10, 30])):
        kind = rng.random()
        if kind < 0.1 and added:
            ids.append(rng.choice(added))
        elif kind < 0.5:
            ids.append(rng.randrange(min(size, 300)))  # where the byte pieces mostly are
        else:
            ids.append(rng.randrange(size + 5))
    return ids


def expected_text(tokenizer: Tokenizer, ids: list[int]) -> dict:
    return {"text": tokenizer.decode(ids, skip_special_tokens=False),
            "skipped": tokenizer.decode(ids, skip_special_tokens=True)}


def compare(tool: str, path: str, num_cases: int, seed: int) -> int:
    tokenizer = Tokenizer.from_file(path)
    added = tokenizer.get_added_tokens_decoder()
    rng = random.Random(seed)
    contents = [token.content for token in added.values()]
    texts = [random_text.random_text(rng, contents) for _ in range(num_cases)]
    requests, expected = [], []
    for special in (False, True):
        requests += [{"text": text, "special": special} for text in texts]
        encodings = tokenizer.encode_batch(texts, add_special_tokens=special)
        expected += [{"ids": encoding.ids} for encoding in encodings]
    sequences = [encoding["ids"] for encoding in expected[:num_cases]]
    sequences += [random_ids(rng, tokenizer.get_vocab_size(), list(added))
                  for _ in range(num_cases)]
    requests += [{"ids": ids} for ids in sequences]
    expected += [expected_text(tokenizer, ids) for ids in sequences]
    replies = ask(tool, path, requests)
    bad = [row for row in zip(requests, expected, replies, strict=True) if row[1] != row[2]]
    kinds = {"encode": 0, "decode": 0}
    for request, want, got in bad:
        kind = "encode" if "text" in request else "decode"
        kinds[kind] += 1
        if kinds[kind] <= SHOWN:
            print(f"  {kind} {request!r}\n    want {want!r}\n    got  {got!r}")
    print(f"{path}: {len(requests)} comparisons, {kinds['encode']} encode and {kinds['decode']} "
          "decode mismatches", flush=True)
    return len(bad)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("tool")
    parser.add_argument("files", nargs="*")
    parser.add_argument("--cases", type=int, default=10000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    files = args.files or [str(path) for path in sorted((HERE / "goldens").glob("*.json"))]
    if not args.files:
        files.append(str(HERE / "../../models/tickets-5m/tokenizer.json"))
    return 1 if sum(compare(args.tool, path, args.cases, args.seed) for path in files) else 0


if __name__ == "__main__":
    sys.exit(main())
