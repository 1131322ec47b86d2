#!/usr/bin/env python3
"""Fails on an include against the dependency order, or on a file longer than the limit.

The order (engine/README.md): a folder may include itself and the folders listed for it.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
MAX_LINES = 500

KERNELS = {"kernels"}
BASE = KERNELS | {"engine/base"}
ALLOWED = {
    "kernels": set(),
    "engine/base": KERNELS,
    "engine/kv": BASE,
    "engine/tokenizer": BASE,
    "engine/sampling": BASE,
    "engine/model": BASE,
    "engine/exit": BASE,
    "engine/schedule": BASE | {"engine/kv"},
    "engine/runtime": BASE
    | {"engine/kv", "engine/tokenizer", "engine/sampling", "engine/model", "engine/exit",
       "engine/schedule"},
    "server": BASE | {"engine/runtime", "engine/tokenizer", "engine/model", "engine/exit",
                      "engine/sampling", "proto"},
    "loadtest": {"proto"},
    "tools": BASE | {"engine/tokenizer", "engine/model", "engine/exit", "engine/kv",
                     "engine/runtime", "engine/sampling", "engine/schedule", "loadtest"},
}
GENERATED = ("spade/", "grpc/", "inference/", "vllm/", "smg/")  # folders of proto/
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"')


def folder_of(path: str) -> str | None:
    """The longest folder of ALLOWED (or proto, tests) that holds `path`."""
    parts = path.split("/")
    for depth in (2, 1):
        name = "/".join(parts[:depth])
        if name in ALLOWED or name in ("proto", "tests"):
            return name
    generated = path.startswith(GENERATED) and path.endswith((".pb.h", ".grpc.pb.h"))
    return "proto" if generated else None


def main() -> int:
    errors = []
    sources = [p for suffix in ("*.h", "*.cc", "*.cu") for p in ROOT.rglob(suffix)
               if not str(p.relative_to(ROOT)).startswith("build")]
    for path in sorted(sources):
        relative = path.relative_to(ROOT).as_posix()
        lines = path.read_text(encoding="utf-8").splitlines()
        if len(lines) > MAX_LINES:
            errors.append(f"{relative}: {len(lines)} lines, over {MAX_LINES}")
        folder = folder_of(relative)
        if folder is None or folder == "tests":
            continue
        for number, line in enumerate(lines, 1):
            match = INCLUDE.match(line)
            target = folder_of(match.group(1)) if match else None
            if target and target != folder and target not in ALLOWED[folder]:
                errors.append(f"{relative}:{number}: {folder} may not include {target}")
            if "cuda_runtime" in line and not relative.startswith("kernels/cuda/"):
                errors.append(f"{relative}:{number}: CUDA headers belong under kernels/cuda/")
    print("\n".join(errors) if errors else f"check_layers: {len(sources)} files in order")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
