"""Measures this engine beside its peers, in turn, round after round.

Every round runs every engine once, each in a process of its own, on the same checkpoint. Rates are
medians over the rounds; a ratio is the median of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from cases import KINDS, cases_on
from engines import ENGINES, HERE, Job
from report import Rates, markdown, svg

ROOT = HERE.parent.parent
PACKAGES = ["transformers", "torch", "ctranslate2", "openvino-genai"]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=["135m", "1.1b", "8b"], default="135m")
    parser.add_argument("--dtype", choices=["bf16", "int8"], default="bf16")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--decisions", type=int, nargs="*", default=[1, 32], help="at once")
    parser.add_argument("--kinds", nargs="*", choices=KINDS, default=KINDS, help="of cases")
    parser.add_argument("--engines", nargs="*", choices=ENGINES, help="default: all that have type and device")
    parser.add_argument("--bench", type=Path, default=ROOT / "build/tests/bench/engine_bench")
    parser.add_argument("--cache", type=Path, default=ROOT / "build/peers/models")
    parser.add_argument("--out", type=Path, default=ROOT / "build/peers/results")
    given = parser.parse_args()
    given.engines = given.engines or [
        name
        for name, engine in ENGINES.items()
        if given.dtype in engine.dtypes and given.device in engine.devices
    ]
    return given


def measure(job: Job, names: list[str], rounds: int) -> Rates:
    rates: Rates = {name: {case.name: [] for case in job.cases} for name in names}
    for number in range(1, rounds + 1):
        for name in names:
            print(f"round {number}/{rounds}: {name} ...", flush=True)
            seconds = ENGINES[name].measure(job)
            for case in job.cases:
                rates[name][case.name].append(case.rate(seconds[case.name]))
    return rates


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((x.split(": ")[1] for x in lines if x.startswith("model name")), platform.machine())


def gpu() -> str:
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader", "-i", "0"]
    return subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip()


def versions() -> dict[str, str]:
    llama = ROOT / "build/peers/llama-version"
    found = {"llama-cpp-python": llama.read_text().strip() if llama.exists() else "not installed"}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def main() -> None:
    given = parse()
    job = Job(
        shape=given.shape,
        dtype=given.dtype,
        device=given.device,
        threads=given.threads,
        cases=cases_on(given.device, given.decisions, given.kinds),
        checkpoint=given.cache / given.shape,
        work=given.cache,
        bench=given.bench,
    )
    for name in dict.fromkeys(["spade", *given.engines]):
        print(f"preparing {name} ...", flush=True)
        ENGINES[name].prepare(job)
    rates = measure(job, given.engines, given.rounds)
    where = f"{given.threads} threads, {processor()}" if given.device == "cpu" else gpu()
    title = f"{given.shape}, {given.dtype}, {where}"
    table = markdown(rates, job.cases, "spade")
    stem = f"{given.shape}-{given.dtype}{'' if given.device == 'cpu' else '-cuda'}"
    given.out.mkdir(parents=True, exist_ok=True)
    record = {"date": datetime.date.today().isoformat(), "machine": title, "rates": rates}
    record["versions"] = versions()
    (given.out / f"{stem}.json").write_text(json.dumps(record, indent=1) + "\n")
    (given.out / f"{stem}.md").write_text(f"{title}; {versions()}\n\n{table}")
    (given.out / f"{stem}.svg").write_text(svg(rates, job.cases, title))
    print(f"\n{title}\n\n{table}\nwritten to {given.out}/{stem}.{{json,md,svg}}")


if __name__ == "__main__":
    main()
