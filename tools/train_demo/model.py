"""A Llama whose parameters are named as Hugging Face names them, with the SPADE pass.

Written out rather than taken from transformers: training needs the rows after every layer, a mask
of its own and the two-token sequences that join on the way up.
"""

import json
import pathlib
from dataclasses import dataclass, fields, replace

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn


@dataclass(frozen=True)
class Config:
    """Named as in config.json."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    vocab_size: int
    max_position_embeddings: int
    rms_norm_eps: float
    rope_theta: float


def rotate(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    low, high = heads.chunk(2, dim=-1)
    return torch.cat([low * cos - high * sin, high * cos + low * sin], dim=-1)


class Attention(nn.Module):
    def __init__(self, config: Config):
        super().__init__()
        self.heads, self.kv_heads = config.num_attention_heads, config.num_key_value_heads
        self.dim = config.head_dim
        hidden, kv = config.hidden_size, config.num_key_value_heads * config.head_dim
        self.q_proj = nn.Linear(hidden, self.heads * self.dim, bias=False)
        self.k_proj = nn.Linear(hidden, kv, bias=False)
        self.v_proj = nn.Linear(hidden, kv, bias=False)
        self.o_proj = nn.Linear(self.heads * self.dim, hidden, bias=False)

    def project(self, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rotated queries and keys, and values: (..., heads, dim)."""
        weight = torch.cat([self.q_proj.weight, self.k_proj.weight, self.v_proj.weight])
        heads = F.linear(x, weight).unflatten(-1, (-1, self.dim))
        q, k, v = heads.split([self.heads, self.kv_heads, self.kv_heads], dim=-2)
        return rotate(q, cos, sin), rotate(k, cos, sin), v

    def attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
        """q, k, v: (rows, length, heads, dim); mask: (rows, length, length), added to scores.

        Two plain products of all query heads of a KV head: on CPUs faster than the fused kernel.
        """
        rows, length = q.shape[:2]
        q = q.unflatten(2, (self.kv_heads, -1)).permute(0, 2, 1, 3, 4).flatten(2, 3).flatten(0, 1)
        k, v = (t.transpose(1, 2).flatten(0, 1) for t in (k, v))
        scores = torch.bmm(q * self.dim ** -0.5, k.transpose(1, 2))
        scores = scores.view(rows, self.kv_heads, length, -1, length) + mask[:, None, :, None]
        out = torch.bmm(scores.softmax(-1).to(v.dtype).view(q.shape[0], -1, length), v)
        out = out.view(rows, self.kv_heads, length, -1, self.dim).transpose(1, 2)
        return out.reshape(rows, length, -1)

    def attend_start(self, q: Tensor, k: Tensor, v: Tensor, start_k: Tensor,
                     start_v: Tensor) -> Tensor:
        """Rows that see the start token and themselves: q, k, v are (rows, heads, dim)."""
        groups = self.heads // self.kv_heads
        k, v, start_k, start_v = (t.repeat_interleave(groups, -2) for t in
                                  (k, v, start_k, start_v))
        scores = torch.stack([(q * start_k).sum(-1), (q * k).sum(-1)], -1) * self.dim ** -0.5
        weights = scores.float().softmax(-1).to(v.dtype)
        return (weights[..., :1] * start_v + weights[..., 1:] * v).flatten(-2)


class Mlp(nn.Module):
    def __init__(self, config: Config):
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        both = F.linear(x, torch.cat([self.gate_proj.weight, self.up_proj.weight]))
        gate, up = both.chunk(2, dim=-1)
        return self.down_proj(F.silu(gate) * up)


class Layer(nn.Module):
    def __init__(self, config: Config):
        super().__init__()
        self.input_layernorm = nn.RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = nn.RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = Mlp(config)

    def finish(self, x: Tensor, attended: Tensor) -> Tensor:
        x = x + self.self_attn.o_proj(attended)
        return x + self.mlp(self.post_attention_layernorm(x))

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor):
        """(rows, length, hidden) and the start token's key and value of the first row."""
        q, k, v = self.self_attn.project(self.input_layernorm(x), cos, sin)
        return self.finish(x, self.self_attn.attend(q, k, v, mask)), k[0, 0], v[0, 0]

    def climb(self, x: Tensor, cos: Tensor, sin: Tensor, start_k: Tensor,
              start_v: Tensor) -> Tensor:
        """Rows (rows, hidden) of the SPADE pass through this layer."""
        q, k, v = self.self_attn.project(self.input_layernorm(x), cos, sin)
        return self.finish(x, self.self_attn.attend_start(q, k, v, start_k, start_v))


@dataclass
class Climb:
    """States after every layer (the embedding first), and the start token's keys and values."""

    states: list[Tensor]
    start: list[tuple[Tensor, Tensor]]


class Llama(nn.Module):
    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        self.norm = nn.RMSNorm(config.hidden_size, config.rms_norm_eps)
        steps = torch.arange(config.head_dim // 2) * (2 / config.head_dim)
        angles = torch.outer(torch.arange(config.max_position_embeddings).float(),
                             config.rope_theta ** -steps)
        self.register_buffer("cos", angles.cos()[:, None], persistent=False)
        self.register_buffer("sin", angles.sin()[:, None], persistent=False)

    def forward(self, ids: Tensor, positions: Tensor, mask: Tensor) -> Climb:
        x = self.embed_tokens(ids)
        cos, sin = self.cos[positions], self.sin[positions]
        climb = Climb([x], [])
        for layer in self.layers:
            x, start_k, start_v = layer(x, cos, sin, mask)
            climb.states.append(x)
            climb.start.append((start_k, start_v))
        return climb

    def spade(self, climb: Climb, rows: Tensor, exits: Tensor, positions: Tensor) -> Tensor:
        """Ends of the SPADE passes of rows (flat indices) that leave the text after `exits` layers.

        Positions are kept. One pass carries all of them: a row joins it at its layer. Returns
        (rows, hidden) in the order of a stable sort of `exits`, by which the caller sorts too.
        """
        cos, sin = self.cos[positions], self.sin[positions]
        x = climb.states[0].new_empty(0, self.config.hidden_size)
        begin = int(exits.min())
        for depth in range(begin, self.config.num_hidden_layers):
            joining = rows[exits == depth]
            x = torch.cat([x, climb.states[depth].flatten(0, 1)[joining]])
            count = len(x)
            x = self.layers[depth].climb(x, cos[:count], sin[:count], *climb.start[depth])
        return x

    def logits(self, x: Tensor, ids: list[int] | None = None) -> Tensor:
        head = self.embed_tokens.weight if ids is None else self.embed_tokens.weight[ids]
        return F.linear(self.norm(x), head)


def load_folder(folder: pathlib.Path) -> Llama:
    """The model of a Hugging Face folder of this architecture, in single precision."""
    config = json.loads((folder / "config.json").read_text())
    model = Llama(Config(**{field.name: config[field.name] for field in fields(Config)}))
    model.load_state_dict({name.removeprefix("model."): tensor.float()
                           for name, tensor in load_file(folder / "model.safetensors").items()})
    return model


def grow(model: Llama, layers: int, context: int) -> Llama:
    """The same function, deeper and with room for longer prompts.

    Added layers add nothing to the residual stream at first. They are spread over the upper half:
    lower layers, which early exits read, stay as they were trained.
    """
    old = model.config
    added = layers - old.num_hidden_layers
    if added < 0 or context < old.max_position_embeddings:
        raise ValueError("a model can only grow")
    grown = Llama(replace(old, num_hidden_layers=layers, max_position_embeddings=context))
    grown.embed_tokens, grown.norm = model.embed_tokens, model.norm
    first = old.num_hidden_layers // 2 - 1
    stack = list(model.layers)
    for i in reversed(range(added)):
        at = first + (i + 1) * (old.num_hidden_layers - first) // added
        fresh = grown.layers[-1 - i]
        nn.init.zeros_(fresh.self_attn.o_proj.weight)
        nn.init.zeros_(fresh.mlp.down_proj.weight)
        stack.insert(at, fresh)
    grown.layers = nn.ModuleList(stack)
    return grown
