"""CTranslate2. Its CPU kernels have no bf16: `bf16` is computed in float32 there, int8 in int8."""

from __future__ import annotations

import json
import time

import ctranslate2
from arguments import parse
from cases import DECODE_STEPS, Case, prompts, report


def seconds_of(generator: ctranslate2.Generator, case: Case, vocabulary: list[str]) -> float:
    steps = 1 + DECODE_STEPS if case.kind == "decode" else 1
    times: list[float] = []
    start = time.perf_counter()
    generator.generate_batch(
        [[vocabulary[i] for i in ids] for ids in prompts(case, len(vocabulary))],
        max_length=steps,
        min_length=steps,
        include_prompt_in_result=False,
        callback=lambda _: times.append(time.perf_counter()) is not None,
    )
    if case.kind != "decode":
        return time.perf_counter() - start
    return (times[-1] - times[case.sequences - 1]) / DECODE_STEPS


def main() -> None:
    arguments = parse(__doc__ or "")
    generator = ctranslate2.Generator(
        str(arguments.model),
        device="cpu",
        compute_type="int8" if arguments.dtype == "int8" else "float32",
        inter_threads=1,
        intra_threads=arguments.threads,
    )
    vocabulary = json.loads((arguments.model / "vocabulary.json").read_text())
    for case in arguments.cases:
        report(case, lambda case=case: seconds_of(generator, case, vocabulary))


if __name__ == "__main__":
    main()
