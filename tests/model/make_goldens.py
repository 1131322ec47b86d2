#!/usr/bin/env python3
"""Writes tests/model/goldens: tiny random checkpoints and the logits transformers gives for them.

Run from anywhere with a Python that has torch, transformers and safetensors:

    python tests/model/make_goldens.py

Made with transformers 5.23.0 and torch 2.15.0 (CPU, float32 arithmetic, eager attention). The seed
is pinned, so a run with the same versions writes the same bytes. Each case folder holds what a
model folder holds (config.json, *.safetensors) and `expected.json` with `logits.f32`:

    expected.json  {"prompts": [[ids]], "positions": [[positions with logits]], "vocab": n}
    logits.f32     little-endian float32, (sum of positions, vocab), prompt by prompt

`tickets-5m.json` holds greedy continuations of models/tickets-5m: bf16 weights, float32 arithmetic.
"""

import json
import pathlib
import shutil

import numpy as np
import torch
import transformers
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
OUT = HERE / "goldens"
SEED = 20250718
HIDDEN = 32
VOCAB = 128
PROMPT_LENGTHS = (1, 7, 90)

BASE = dict(
    hidden_size=HIDDEN,
    intermediate_size=56,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=4,
    vocab_size=VOCAB,
    max_position_embeddings=128,
    rms_norm_eps=1e-5,
    hidden_act="silu",
    tie_word_embeddings=False,
    bos_token_id=1,
    eos_token_id=2,
)

LLAMA3 = dict(
    rope_type="llama3",
    factor=8.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=32,
)

# Each case: the architecture, what differs from BASE, how config.json spells rope and dtype, the
# dtype that weights are stored in, and the number of files.
CASES = {
    "llama-mha": dict(arch="LlamaForCausalLM", model_type="llama", theta=10000.0),
    "llama-gqa-llama3": dict(
        arch="LlamaForCausalLM", model_type="llama", num_key_value_heads=2,
        num_hidden_layers=4, theta=500000.0, scaling=LLAMA3, eos_token_id=[2, 5],
        stored="bfloat16"),
    "llama-mqa-linear": dict(
        arch="LlamaForCausalLM", model_type="llama", num_key_value_heads=1, theta=10000.0,
        scaling=dict(rope_type="linear", factor=4.0), attention_bias=True, mlp_bias=True,
        tie_word_embeddings=True, new_layout=True, stored="float16"),
    "mistral": dict(
        arch="MistralForCausalLM", model_type="mistral", num_key_value_heads=2, head_dim=24,
        sliding_window=None, theta=1000000.0, new_layout=True, stored="bfloat16"),
    "qwen2": dict(
        arch="Qwen2ForCausalLM", model_type="qwen2", num_key_value_heads=2, theta=1000000.0,
        use_sliding_window=False, rms_norm_eps=1e-6, stored="bfloat16"),
    "qwen3": dict(
        arch="Qwen3ForCausalLM", model_type="qwen3", num_key_value_heads=2, head_dim=16,
        theta=1000000.0, tie_word_embeddings=True, attention_bias=False, rms_norm_eps=1e-6,
        new_layout=True, stored="bfloat16"),
    "llama-f16": dict(arch="LlamaForCausalLM", model_type="llama", theta=10000.0,
                      num_key_value_heads=2, num_hidden_layers=2, stored="float16"),
    "llama-bf16": dict(arch="LlamaForCausalLM", model_type="llama", theta=10000.0,
                       num_key_value_heads=2, num_hidden_layers=2, stored="bfloat16"),
    "llama-sharded": dict(arch="LlamaForCausalLM", model_type="llama", theta=10000.0,
                          num_key_value_heads=2, num_hidden_layers=2, shards=2, stored="bfloat16"),
}


def config_json(case):
    config = dict(BASE, architectures=[case["arch"]], model_type=case["model_type"])
    private = {"arch", "theta", "scaling", "new_layout", "stored", "shards"}
    config.update({k: v for k, v in case.items() if k not in private})
    stored = case.get("stored", "float32")
    if case.get("new_layout"):
        config["rope_parameters"] = dict(
            {"rope_type": "default"}, **case.get("scaling", {}), rope_theta=case["theta"])
        config["dtype"] = stored
    else:
        config["rope_theta"] = case["theta"]
        config["rope_scaling"] = case.get("scaling")
        config["torch_dtype"] = stored
    return config


def randomize(model, generator):
    """Norms away from one and biases away from zero, so that a mistake in either shows."""
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if name.endswith("norm.weight"):
            parameter.data = 1.0 + 0.2 * noise
        elif name.endswith("bias"):
            parameter.data = 0.3 * noise
        elif "embed_tokens" in name:
            parameter.data = noise
        else:
            parameter.data = noise * (1.5 / parameter.shape[-1] ** 0.5)


def save_weights(model, folder, stored, shards):
    tensors = {k: v.to(getattr(torch, stored)).contiguous() for k, v in model.state_dict().items()}
    if model.config.tie_word_embeddings:
        tensors.pop("lm_head.weight", None)
    if shards == 1:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return
    weight_map = {}
    for shard in range(shards):
        file = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        part = {k: v for i, (k, v) in enumerate(tensors.items()) if i % shards == shard}
        save_file(part, folder / file, metadata={"format": "pt"})
        weight_map.update({k: file for k in part})
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1))


def chosen_positions(length):
    return sorted({0, length // 2, length - 1})


def make_case(name, case):
    generator = torch.Generator().manual_seed(SEED)
    folder = OUT / name
    folder.mkdir(parents=True)
    stored = case.get("stored", "float32")
    (folder / "config.json").write_text(json.dumps(config_json(case), indent=1) + "\n")
    config = transformers.AutoConfig.from_pretrained(folder)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    randomize(model, generator)
    save_weights(model, folder, stored, case.get("shards", 1))
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager").eval()
    prompts, positions, logits = [], [], []
    for length in PROMPT_LENGTHS:
        ids = torch.randint(0, VOCAB, (length,), generator=generator)
        with torch.no_grad():
            out = model(ids[None]).logits[0]
        prompts.append(ids.tolist())
        positions.append(chosen_positions(length))
        logits.append(out[positions[-1]].numpy())
    np.concatenate(logits).astype("<f4").tofile(folder / "logits.f32")
    expected = dict(prompts=prompts, positions=positions, vocab=VOCAB)
    (folder / "expected.json").write_text(json.dumps(expected) + "\n")


def make_greedy():
    folder = ROOT / "models" / "tickets-5m"
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager").eval()
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    lines = (folder / "calibration.jsonl").read_text().splitlines()
    prompts = [json.loads(lines[i])["prompt"] for i in (3, 40)]
    prompts += ["The weather today is", "Once upon a time there was a small"]
    cases = []
    for prompt in prompts:
        ids = tokenizer(prompt)["input_ids"]
        count = min(200, 256 - len(ids))
        generated, gaps = [], []
        with torch.no_grad():
            out = model(torch.tensor([ids]), use_cache=True)
            for _ in range(count):
                top = out.logits[0, -1].topk(2)
                generated.append(int(top.indices[0]))
                gaps.append(float(top.values[0] - top.values[1]))
                out = model(torch.tensor([[generated[-1]]]), past_key_values=out.past_key_values,
                            use_cache=True)
        cases.append(dict(text=prompt, prompt=ids, generated=generated, smallest_gap=min(gaps)))
        print("greedy", len(ids), "+", count, "smallest gap", min(gaps))
    (OUT / "tickets-5m.json").write_text(json.dumps(cases) + "\n")


def main():
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    for name, case in CASES.items():
        make_case(name, case)
    make_greedy()
    versions = dict(transformers=transformers.__version__, torch=torch.__version__.split("+")[0])
    for path in OUT.rglob("*.safetensors"):
        path.chmod(0o644)  # save_file writes 0600
    (OUT / "versions.json").write_text(json.dumps(versions) + "\n")


if __name__ == "__main__":
    main()
