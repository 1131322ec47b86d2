"""How each engine is prepared and measured."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import arguments
from cases import DECODE_STEPS, Case

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Job:
    """One model in one type of weights, measured by every engine."""

    shape: str
    dtype: str
    device: str
    threads: int
    cases: list[Case]
    checkpoint: Path  # Hugging Face folder
    work: Path  # converted models
    bench: Path  # our engine_bench

    @property
    def kinds(self) -> list[str]:
        return list(dict.fromkeys(case.kind for case in self.cases))

    @property
    def decisions(self) -> list[int]:
        return [case.sequences for case in self.cases if case.kind == "decide"]


class Engine:
    name = ""
    note = ""
    dtypes = ("bf16", "int8")
    devices = ("cpu",)

    def prepare(self, job: Job) -> None:
        """Converts the checkpoint where that was not done before."""

    def measure(self, job: Job) -> dict[str, float]:
        """Seconds by case's name: of one step for decode, of all prompts for the others."""
        raise NotImplementedError


def lines_of(command: list[str | Path]) -> list[dict[str, float]]:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} exited with {done.returncode}: {done.stderr[-2000:]}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


class Spade(Engine):
    name = "spade"
    devices = ("cpu", "cuda")

    def prepare(self, job: Job) -> None:
        """Makes the checkpoint where it is missing: any figure of engine_bench's does that first."""
        if (job.checkpoint / "tokenizer_config.json").exists():  # written last
            return
        command = [job.bench, "--shape", job.shape, "--cache", job.checkpoint.parent]
        command += ["--device", job.device]
        lines_of([*command, "--only", "decode 1", "--repeats", "1", "--compute", "bf16", "--json"])

    def measure(self, job: Job) -> dict[str, float]:
        command: list[str | Path] = [job.bench, "--shape", job.shape, "--dtype", job.dtype, "--json"]
        if len(job.kinds) == 1:
            command += ["--only", job.kinds[0]]
        command += ["--cache", job.checkpoint.parent, "--threads", str(job.threads), "--repeats", "3"]
        command += ["--device", job.device, "--compute", job.dtype, "--kv-dtype", "bf16"]
        if job.decisions:
            command += ["--decisions", ",".join(map(str, job.decisions))]
        return {line["case"]: line["seconds"] for line in lines_of(command)}  # type: ignore[misc]


class LlamaCpp(Engine):
    name = "llama.cpp"
    note = "its llama-batched-bench; int8 is Q8_0"

    def _model(self, job: Job) -> Path:
        return job.work / f"{job.shape}-{job.dtype}.gguf"

    def prepare(self, job: Job) -> None:
        if not self._model(job).exists():
            convert("gguf", job, self._model(job))

    def _run(self, job: Job, prompt: int, steps: int, parallel: list[int]) -> list[dict[str, float]]:
        context = max(parallel) * (prompt + steps)
        command = [HERE / "../../build/peers/bin/llama-batched-bench", "-m", self._model(job)]
        command += ["-c", str(context), "-b", "2048", "-ub", "512", "-t", str(job.threads)]
        command += ["-npp", str(prompt), "-ntg", str(steps), "--output-format", "jsonl"]
        return lines_of([*command, "-npl", ",".join(map(str, parallel))])

    def measure(self, job: Job) -> dict[str, float]:
        times: dict[str, float] = {}
        for kind in ("decode", "prefill", "decide"):
            group = [case for case in job.cases if case.kind == kind]
            if not group:
                continue
            steps = DECODE_STEPS if kind == "decode" else 1
            # Each four times in a row, the first to warm up.
            lines = self._run(job, group[0].prompt, steps, [c.sequences for c in group for _ in "wabc"])
            for i, case in enumerate(group):
                runs = lines[4 * i + 1 : 4 * i + 4]
                key = "t_tg" if kind == "decode" else "t_pp"
                times[case.name] = median(run[key] for run in runs) / (steps if kind == "decode" else 1)
        return times


class Python(Engine):
    """A peer driven by its Python package, in a process of its own."""

    program = ""
    converted = ""

    def options(self, job: Job) -> list[str]:
        return []

    def _model(self, job: Job) -> Path:
        return job.work / f"{job.shape}-{job.dtype}-{self.converted}" if self.converted else job.checkpoint

    def prepare(self, job: Job) -> None:
        if self.converted and not self._model(job).exists():
            convert(self.converted, job, self._model(job))

    def measure(self, job: Job) -> dict[str, float]:
        vocab = arguments.vocab_size(job.checkpoint)
        command: list[str | Path] = [sys.executable, HERE / self.program, "--model", self._model(job)]
        command += ["--dtype", job.dtype, "--device", job.device, "--vocab-size", str(vocab)]
        command += ["--threads", str(job.threads), "--decisions", *map(str, job.decisions)]
        command += ["--kinds", *job.kinds, *self.options(job)]
        return {line["case"]: line["seconds"] for line in lines_of(command)}  # type: ignore[misc]


class Transformers(Python):
    name = "transformers"
    note = "torch, bf16, eager; on a GPU compiled, with a static cache; no int8 of its own on the CPU"
    dtypes = ("bf16",)
    devices = ("cpu", "cuda")
    program = "measure_transformers.py"

    def options(self, job: Job) -> list[str]:
        return ["--compiled"] if job.device == "cuda" else []


class CTranslate2(Python):
    name = "CTranslate2"
    note = "its CPU kernels have no bf16: float32 there"
    program = "measure_ctranslate2.py"
    converted = "ctranslate2"


class OpenVino(Python):
    name = "OpenVINO GenAI"
    note = "LLMPipeline, precision hint bf16"
    program = "measure_openvino.py"
    converted = "openvino"


ENGINES: dict[str, Engine] = {
    engine.name: engine for engine in (Spade(), LlamaCpp(), Transformers(), CTranslate2(), OpenVino())
}


def convert(kind: str, job: Job, target: Path) -> None:
    partial = target.with_name(target.name + ".partial")
    command = [sys.executable, HERE / "convert.py", kind, job.checkpoint, partial]
    subprocess.run([*map(str, command), "--dtype", job.dtype], check=True, capture_output=True)
    partial.rename(target)
