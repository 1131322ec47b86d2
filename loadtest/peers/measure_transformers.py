"""Hugging Face transformers on torch's CPU kernels: bf16, scaled-dot-product attention, eager."""

from __future__ import annotations

import time

import torch
from arguments import parse
from cases import DECODE_STEPS, Case, prompts, report
from transformers import AutoModelForCausalLM, DynamicCache


@torch.inference_mode()
def seconds_of(model: torch.nn.Module, case: Case, vocab_size: int) -> float:
    ids = torch.tensor(prompts(case, vocab_size))
    cache = DynamicCache(config=model.config)
    start = time.perf_counter()
    logits = model(ids, past_key_values=cache, logits_to_keep=1).logits
    if case.kind != "decode":
        return time.perf_counter() - start
    start = time.perf_counter()
    for _ in range(DECODE_STEPS):
        ids = logits[:, -1].argmax(-1, keepdim=True)
        logits = model(ids, past_key_values=cache, logits_to_keep=1).logits
    return (time.perf_counter() - start) / DECODE_STEPS


def main() -> None:
    arguments = parse(__doc__ or "")
    torch.set_num_threads(arguments.threads)
    model = AutoModelForCausalLM.from_pretrained(arguments.model, dtype=torch.bfloat16).eval()
    for case in arguments.cases:
        report(case, lambda case=case: seconds_of(model, case, arguments.vocab_size))


if __name__ == "__main__":
    main()
