#!/usr/bin/env python3
"""Fails on a binary that lacks a defence which the build must give it, as readelf shows it.

Usage: check_hardening.py [--compile-commands FILE] BINARY ...
FILE: also checks the flags that leave no mark in a binary, for every source of ours in it.
"""
import argparse
import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
FLAGS = ["-fstack-protector-strong", "-D_FORTIFY_SOURCE=2"]


def readelf(binary: str, *options: str) -> str:
    return subprocess.run(["readelf", "-W", *options, binary], capture_output=True, text=True,
                          check=True).stdout


def problems(binary: str) -> list[str]:
    headers = readelf(binary, "-hl")
    dynamic = readelf(binary, "-d")
    symbols = readelf(binary, "--dyn-syms")
    stack = re.search(r"GNU_STACK.*", headers)
    checks = {
        "is no position-independent executable":
            re.search(r"Type:\s+DYN", headers) and re.search(r"FLAGS_1.*PIE", dynamic),
        "has no RELRO": "GNU_RELRO" in headers,
        "binds lazily, so that its table of functions stays writable":
            re.search(r"\(FLAGS\).*BIND_NOW", dynamic) or re.search(r"FLAGS_1.*NOW", dynamic),
        "has an executable stack": stack and "RWE" not in stack[0],
        "has a segment that is writable and executable": not re.search(r"LOAD.*RWE", headers),
        "relocates its code": "TEXTREL" not in dynamic,
        "looks for libraries in a path of its own (RPATH)": not re.search(r"R(UN)?PATH", dynamic),
        "has no stack protector": "__stack_chk_fail" in symbols,
        "calls no checked function of libc (FORTIFY)": re.search(r"__\w+_chk@", symbols),
    }
    return [f"{binary} {what}" for what, holds in checks.items() if not holds]


def unflagged(database: str) -> list[str]:
    found = []
    for entry in json.loads(pathlib.Path(database).read_text()):
        source = (pathlib.Path(entry["directory"]) / entry["file"]).resolve()
        if not source.is_relative_to(ROOT) or source.suffix != ".cc":
            continue
        if any(part.startswith("build") for part in source.relative_to(ROOT).parts):
            continue  # generated
        missing = [flag for flag in FLAGS if flag not in entry["command"].split()]
        if missing:
            found.append(f"{source.relative_to(ROOT)} is compiled without {' '.join(missing)}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--compile-commands")
    parser.add_argument("binaries", nargs="*")
    arguments = parser.parse_args()
    found = [p for binary in arguments.binaries for p in problems(binary)]
    if arguments.compile_commands:
        found += unflagged(arguments.compile_commands)
    print("\n".join(found) if found else f"check_hardening: {len(arguments.binaries)} binaries")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
