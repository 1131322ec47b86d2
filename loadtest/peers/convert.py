"""Writes one Hugging Face folder in the format that a peer reads."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy
from safetensors import safe_open

BLOCK_TENSORS = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
OUTER_TENSORS = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
}


def gguf_name(name: str) -> str:
    stem = name.removesuffix(".weight")
    if stem in OUTER_TENSORS:
        return OUTER_TENSORS[stem] + ".weight"
    _, _, layer, rest = stem.split(".", 3)
    return f"blk.{layer}.{BLOCK_TENSORS[rest]}.weight"


def interleave(weights: numpy.ndarray, heads: int) -> numpy.ndarray:
    """Rows of a head from halves, as Hugging Face rotates them, to pairs, as llama.cpp does."""
    halves = weights.reshape(heads, 2, -1, weights.shape[1])
    return halves.swapaxes(1, 2).reshape(weights.shape)


def to_gguf(source: Path, target: Path, dtype: str) -> None:
    import gguf

    config = json.loads((source / "config.json").read_text())
    writer = gguf.GGUFWriter(target, "llama")
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_tokenizer_model("no_vocab")
    matrix_type = gguf.GGMLQuantizationType.Q8_0 if dtype == "int8" else gguf.GGMLQuantizationType.BF16
    with safe_open(source / "model.safetensors", framework="pt") as tensors:
        for name in tensors.keys():
            weights = tensors.get_tensor(name).float().numpy()
            if "q_proj" in name:
                weights = interleave(weights, config["num_attention_heads"])
            if "k_proj" in name:
                weights = interleave(weights, config["num_key_value_heads"])
            kind = matrix_type if weights.ndim == 2 else gguf.GGMLQuantizationType.F32
            writer.add_tensor(gguf_name(name), gguf.quants.quantize(weights, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def to_ctranslate2(source: Path, target: Path, dtype: str) -> None:
    from ctranslate2.converters import TransformersConverter

    TransformersConverter(str(source), load_as_float16=False).convert(
        str(target), quantization="int8" if dtype == "int8" else "float32"
    )


def to_openvino(source: Path, target: Path, dtype: str) -> None:
    program = Path(sys.executable).with_name("optimum-cli")
    weights = "int8" if dtype == "int8" else "fp16"
    command = [program, "export", "openvino", "--model", source, "--task", "text-generation-with-past"]
    subprocess.run([*command, "--weight-format", weights, target], check=True)


FORMATS = {"gguf": to_gguf, "ctranslate2": to_ctranslate2, "openvino": to_openvino}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("format", choices=FORMATS)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--dtype", choices=["bf16", "int8"], default="bf16")
    given = parser.parse_args()
    FORMATS[given.format](given.source, given.target, given.dtype)


if __name__ == "__main__":
    main()
