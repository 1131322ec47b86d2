"""Hugging Face transformers in bf16, scaled-dot-product attention.

On the CPU eager, on a GPU as its generate() does with a static cache: the prompt eager, the steps
compiled, CUDA graphs among them.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from arguments import Arguments, parse
from cases import DECODE_STEPS, Case, prompts, report
from transformers import AutoModelForCausalLM, DynamicCache, StaticCache

Step = Callable[..., torch.Tensor]


class Measurement:
    def __init__(self, arguments: Arguments) -> None:
        self.device = torch.device(arguments.device)
        self.compiled = arguments.compiled
        self.vocab_size = arguments.vocab_size
        model = AutoModelForCausalLM.from_pretrained(arguments.model, dtype=torch.bfloat16)
        self.model = model.eval().to(self.device)
        self.static_caches: dict[str, StaticCache] = {}
        self.decoding_step: Step = self.step
        if self.compiled:
            self.decoding_step = torch.compile(self.step, mode="reduce-overhead", dynamic=False)

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def cache(self, case: Case) -> DynamicCache | StaticCache:
        if not self.compiled:
            return DynamicCache(config=self.model.config)
        # The same one every time: captured graphs hold its address.
        if case.name not in self.static_caches:
            length = case.prompt + DECODE_STEPS
            self.static_caches[case.name] = StaticCache(self.model.config, max_cache_len=length)
        self.static_caches[case.name].reset()
        return self.static_caches[case.name]

    def step(self, ids: torch.Tensor, cache: DynamicCache | StaticCache) -> torch.Tensor:
        """The next token of each sequence."""
        logits = self.model(ids, past_key_values=cache, logits_to_keep=1).logits
        return logits[:, -1].argmax(-1, keepdim=True)

    @torch.inference_mode()
    def seconds_of(self, case: Case) -> float:
        ids = torch.tensor(prompts(case, self.vocab_size), device=self.device)
        cache = self.cache(case)
        self.wait()
        start = time.perf_counter()
        ids = self.step(ids, cache)
        self.wait()
        if case.kind != "decode":
            return time.perf_counter() - start
        start = time.perf_counter()
        for _ in range(DECODE_STEPS):
            torch.compiler.cudagraph_mark_step_begin()
            ids = self.decoding_step(ids, cache).clone()  # of the memory that a replay overwrites
        self.wait()
        return (time.perf_counter() - start) / DECODE_STEPS


def main() -> None:
    arguments = parse(__doc__ or "")
    torch.set_num_threads(arguments.threads)
    measurement = Measurement(arguments)
    for case in arguments.cases:
        report(case, lambda case=case: measurement.seconds_of(case))


if __name__ == "__main__":
    main()
