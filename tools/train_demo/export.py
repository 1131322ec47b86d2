#!/usr/bin/env python3
"""Writes a checkpoint of train.py as a Hugging Face folder: weights in bf16 and tokenizer."""

import argparse
import json
import pathlib
import shutil

import torch
from safetensors.torch import save_file

COPIED = ("tokenizer.json", "tokenizer_config.json", "generation_config.json")


def config_json(config: dict) -> dict:
    return dict(architectures=["LlamaForCausalLM"], model_type="llama", **config,
                hidden_act="silu", tie_word_embeddings=True, attention_bias=False, mlp_bias=False,
                bos_token_id=0, eos_token_id=1, torch_dtype="bfloat16")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=pathlib.Path, required=True)
    parser.add_argument("--tokenizer", type=pathlib.Path, required=True,
                        help="model folder whose tokenizer files are taken over")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    args = parser.parse_args()

    saved = torch.load(args.checkpoint, weights_only=True)
    prefix = "0."  # the model stands before the probes, which are left behind
    weights = {"model." + name.removeprefix(prefix): tensor.bfloat16().contiguous()
               for name, tensor in saved["both"].items() if name.startswith(prefix)}
    args.out.mkdir(parents=True, exist_ok=True)
    save_file(weights, args.out / "model.safetensors", metadata={"format": "pt"})
    (args.out / "model.safetensors").chmod(0o644)  # save_file writes 0600
    (args.out / "config.json").write_text(json.dumps(config_json(saved["config"]), indent=2) + "\n")
    for name in COPIED:
        if (args.tokenizer / name).resolve() != (args.out / name).resolve():
            shutil.copyfile(args.tokenizer / name, args.out / name)
    print(f"{args.out}: step {saved['step']}, {saved['tokens'] / 1e6:.2f}M tokens, "
          f"{saved['seconds'] / 60:.1f} minutes")


if __name__ == "__main__":
    main()
