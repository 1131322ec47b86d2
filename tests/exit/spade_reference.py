#!/usr/bin/env python3
"""Reference for the SPADE pass, written from its definition and run in double precision.

For every prompt: label logits of the logit lens and of the SPADE pass (position kept and reset)
after every layer, and of full depth. Full depth is checked against transformers. Needs torch,
safetensors, tokenizers and transformers.

  tests/exit/spade_reference.py --model models/tickets-5m --prompts models/tickets-5m/calibration.jsonl \
      --count 20 --out tests/exit/spade_golden.json
"""

import argparse
import json
import pathlib

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer

LABELS = [" bank", " card", " food", " home", " car", " travel", " tools", " work", " chat",
          " settings"]


class Llama:
    """One sequence at a time; no cache: attention is a dense masked softmax."""

    def __init__(self, folder, dtype):
        self.config = json.loads((folder / "config.json").read_text())
        weights = load_file(str(folder / "model.safetensors"))
        self.weights = {name: tensor.to(dtype) for name, tensor in weights.items()}
        self.dtype = dtype
        self.layers = self.config["num_hidden_layers"]
        half = self.config["head_dim"] // 2
        steps = torch.arange(half, dtype=torch.float64) / half
        self.inverse_frequencies = self.config["rope_theta"] ** -steps

    def norm(self, x, name):
        scale = torch.rsqrt((x * x).mean(-1, keepdim=True) + self.config["rms_norm_eps"])
        return x * scale * self.weights[name]

    def rotate(self, heads, positions):
        """heads: (rows, heads, head_dim)"""
        angles = positions.to(torch.float64)[:, None, None] * self.inverse_frequencies
        cos, sin = angles.cos().to(self.dtype), angles.sin().to(self.dtype)
        low, high = heads.chunk(2, dim=-1)
        return torch.cat([low * cos - high * sin, high * cos + low * sin], dim=-1)

    def project(self, x, layer, positions):
        """Returns rotated queries (rows, heads, dim), rotated keys and values (rows, kv_heads, dim)."""
        prefix = f"model.layers.{layer}."
        x = self.norm(x, prefix + "input_layernorm.weight")
        dim = self.config["head_dim"]
        q, k, v = ((x @ self.weights[f"{prefix}self_attn.{n}_proj.weight"].T)
                   .unflatten(-1, (-1, dim)) for n in "qkv")
        return self.rotate(q, positions), self.rotate(k, positions), v

    def attend(self, q, k, v, mask):
        """k, v: (keys, kv_heads, dim); mask: (rows, keys), True where a row may look."""
        groups = q.shape[1] // k.shape[1]
        k, v = (t.repeat_interleave(groups, dim=1) for t in (k, v))
        scores = torch.einsum("qhd,khd->hqk", q, k) / q.shape[-1] ** 0.5
        scores = scores.masked_fill(~mask, -torch.inf).softmax(-1)
        return torch.einsum("hqk,khd->qhd", scores, v).flatten(1)

    def finish(self, x, attended, layer):
        prefix = f"model.layers.{layer}."
        x = x + attended @ self.weights[prefix + "self_attn.o_proj.weight"].T
        y = self.norm(x, prefix + "post_attention_layernorm.weight")
        gate = torch.nn.functional.silu(y @ self.weights[prefix + "mlp.gate_proj.weight"].T)
        up = y @ self.weights[prefix + "mlp.up_proj.weight"].T
        return x + (gate * up) @ self.weights[prefix + "mlp.down_proj.weight"].T

    def embed(self, ids):
        return self.weights["model.embed_tokens.weight"][torch.tensor(ids)]

    def climb(self, ids):
        """Hidden states of the last row after 0, 1, ..., L layers: (L + 1, hidden)."""
        x = self.embed(ids)
        positions = torch.arange(len(ids))
        causal = torch.ones(len(ids), len(ids), dtype=torch.bool).tril()
        last = [x[-1]]
        for layer in range(self.layers):
            q, k, v = self.project(x, layer, positions)
            x = self.finish(x, self.attend(q, k, v, causal), layer)
            last.append(x[-1])
        return torch.stack(last)

    def spade(self, start, answer, layer, position):
        """The two-token sequence <start, answer> from `layer` on, both as rows; (hidden)."""
        x = torch.stack([start, answer])
        positions = torch.tensor([0, position])
        causal = torch.ones(2, 2, dtype=torch.bool).tril()
        for upper in range(layer, self.layers):
            q, k, v = self.project(x, upper, positions)
            x = self.finish(x, self.attend(q, k, v, causal), upper)
        return x[1]

    def logits(self, hidden, ids):
        head = self.weights.get("lm_head.weight", self.weights["model.embed_tokens.weight"])
        return self.norm(hidden, "model.norm.weight") @ head[torch.tensor(ids)].T


def check_against_transformers(model, folder, prompts):
    from transformers import AutoModelForCausalLM
    reference = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64)
    for ids in prompts:
        with torch.no_grad():
            want = reference(torch.tensor([ids])).logits[0, -1]
        got = model.logits(model.climb(ids)[-1], range(len(want)))
        error = (got - want).abs().max().item()
        # transformers computes rotary angles and norms in single precision.
        assert error < 1e-3, f"full depth differs from transformers by {error}"


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=pathlib.Path, required=True)
    parser.add_argument("--prompts", type=pathlib.Path, required=True)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    args = parser.parse_args()

    tokenizer = Tokenizer.from_file(str(args.model / "tokenizer.json"))
    label_ids = [tokenizer.encode(label, add_special_tokens=False).ids for label in LABELS]
    assert all(len(ids) == 1 for ids in label_ids)
    label_ids = [ids[0] for ids in label_ids]
    model = Llama(args.model, torch.float64)
    start = model.climb([model.config["bos_token_id"]])

    cases = []
    lines = args.prompts.read_text().splitlines()
    with torch.no_grad():
        for line in lines[:args.count]:
            prompt = json.loads(line)["prompt"]
            ids = tokenizer.encode(prompt).ids
            last = model.climb(ids)
            round_list = lambda t: [round(v, 6) for v in t.tolist()]
            answer = lambda layer, position: model.logits(
                model.spade(start[layer], last[layer], layer, position), label_ids)
            layers = range(1, model.layers)
            cases.append({
                "prompt": prompt,
                "ids": ids,
                "full": round_list(model.logits(last[-1], label_ids)),
                "lens": [round_list(model.logits(last[l], label_ids)) for l in layers],
                "kept": [round_list(answer(l, len(ids) - 1)) for l in layers],
                "reset": [round_list(answer(l, 1)) for l in layers],
            })
        check_against_transformers(model, args.model, [case["ids"] for case in cases])
    args.out.write_text(json.dumps({"labels": LABELS, "label_ids": label_ids, "cases": cases},
                                   separators=(",", ":")).replace('{"prompt"', '\n{"prompt"') + "\n")


if __name__ == "__main__":
    main()
