"""OpenVINO GenAI's LLMPipeline, on token ids, greedy."""

from __future__ import annotations

import time

import numpy
import openvino
import openvino_genai
from arguments import parse
from cases import DECODE_STEPS, Case, prompts, report


def seconds_of(pipeline: openvino_genai.LLMPipeline, case: Case, vocab_size: int) -> float:
    ids = numpy.array(prompts(case, vocab_size), dtype=numpy.int64)
    inputs = openvino_genai.TokenizedInputs(
        openvino.Tensor(ids), openvino.Tensor(numpy.ones_like(ids))
    )
    config = openvino_genai.GenerationConfig()
    config.max_new_tokens = 1 + DECODE_STEPS if case.kind == "decode" else 1
    config.ignore_eos = True
    start = time.perf_counter()
    result = pipeline.generate(inputs, config)
    if case.kind != "decode":
        return time.perf_counter() - start
    # Milliseconds, one for each step of the batch.
    times = result.perf_metrics.raw_metrics.m_new_token_times
    return float(times[-1] - times[0]) / 1e3 / (len(times) - 1)


def main() -> None:
    arguments = parse(__doc__ or "")
    pipeline = openvino_genai.LLMPipeline(
        str(arguments.model),
        "CPU",
        INFERENCE_NUM_THREADS=arguments.threads,
        INFERENCE_PRECISION_HINT="bf16",
        PERFORMANCE_HINT="LATENCY",
    )
    for case in arguments.cases:
        report(case, lambda case=case: seconds_of(pipeline, case, arguments.vocab_size))


if __name__ == "__main__":
    main()
