"""NeoBERT written a second time, plainly: a sequence at a time, from the formulas, rotary by complex numbers.

It reads a state dict under the published names, works in its dtype, and shares no code with the plugin.
"""

from __future__ import annotations

import math

import torch


def encode(state, options, input_ids, lengths):
    """input_ids (T,) -> (T, C), each sequence on its own."""
    rows, start = [], 0
    for length in lengths:
        rows.append(encode_sequence(state, options, input_ids[start : start + length]))
        start += length
    return torch.cat(rows)


def encode_sequence(state, options, ids):
    """ids (L,) -> (L, C)."""
    x = state["encoder.weight"][ids]
    if not options.rope:
        x = x + state["positional_embedding.weight"][1 : len(ids) + 1]
    for index in range(options.num_hidden_layers):
        block = {
            name.removeprefix(f"transformer_encoder.{index}."): value
            for name, value in state.items()
            if name.startswith(f"transformer_encoder.{index}.")
        }
        x = (ngpt_block if options.ngpt else plain_block)(block, options, x)
    return x if options.ngpt else norm(state, "layer_norm", options, x)


def plain_block(block, options, x):
    x = x + attention(block, options, norm(block, "attention_norm", options, x)) @ block["wo.weight"].T
    return x + feed_forward(block, options, norm(block, "ffn_norm", options, x))


def ngpt_block(block, options, x):
    start = 1 / math.sqrt(960) if options.base_scale is None else options.base_scale
    towards = attention(block, options, x) @ block["wo.weight"].T
    x = step(x, towards, block["attn_alpha"] * 0.05 / start)
    half = block["c_fc.weight"].shape[0] // 2
    scaled = (x @ block["c_fc.weight"].T) * block["suv"] * math.sqrt(options.hidden_size)
    gate = scaled[:, half:]
    towards = (scaled[:, :half] * gate * torch.sigmoid(gate)) @ block["mlp_c_proj.weight"].T
    return step(x, towards, block["mlp_alpha"] * 0.05 / start)


def step(x, towards, share):
    a, b = unit(x), unit(towards)
    return unit(a + share.abs() * (b - a))


def unit(x):
    return x / (x * x).sum(-1, keepdim=True).sqrt()


def norm(state, name, options, x):
    if options.rms_norm:
        return state[f"{name}.weight"] * x / ((x * x).mean(-1, keepdim=True) + options.norm_eps).sqrt()
    centred = x - x.mean(-1, keepdim=True)
    scaled = centred / ((centred * centred).mean(-1, keepdim=True) + options.norm_eps).sqrt()
    return state[f"{name}.weight"] * scaled + state[f"{name}.bias"]


def attention(block, options, x):
    """Head by head: rows of ``qkv`` are [q, k, v] of the first head, then of the second."""
    width = options.hidden_size // options.num_attention_heads
    heads = []
    for head in range(options.num_attention_heads):
        rows = block["qkv.weight"][3 * width * head : 3 * width * (head + 1)]
        q, k, v = x @ rows[:width].T, x @ rows[width : 2 * width].T, x @ rows[2 * width :].T
        if options.rope:
            q, k = turn(q, options.rope_theta), turn(k, options.rope_theta)
        scale = 1 / math.sqrt(width)
        if options.ngpt:
            sqk = block["sqk"][width * head : width * (head + 1)] / options.base_scale
            q, k, scale = sqk * unit(q), sqk * unit(k), math.sqrt(width)
        scores = torch.exp(q @ k.T * scale)
        heads.append(scores / scores.sum(-1, keepdim=True) @ v)
    return torch.cat(heads, dim=-1)


def turn(x, theta):
    """Pair j at position m times exp(i m theta^(-2 j / D))."""
    length, width = x.shape
    columns = []
    for pair in range(width // 2):
        angles = torch.arange(length, dtype=x.dtype) * theta ** (-2 * pair / width)
        number = torch.complex(x[:, 2 * pair], x[:, 2 * pair + 1]) * torch.exp(1j * angles)
        columns += [number.real, number.imag]
    return torch.stack(columns, dim=-1)


def feed_forward(block, options, x):
    if options.hidden_act == "gelu":
        inner = x @ block["ffn.0.weight"].T
        return (inner * (1 + torch.erf(inner / math.sqrt(2))) / 2) @ block["ffn.2.weight"].T
    half = block["ffn.w12.weight"].shape[0] // 2
    gate, up = x @ block["ffn.w12.weight"][:half].T, x @ block["ffn.w12.weight"][half:].T
    return (gate * torch.sigmoid(gate) * up) @ block["ffn.w3.weight"].T
