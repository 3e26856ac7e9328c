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
        x = (ngpt_block if options.ngpt else plain_block)(block, options, x, index)
    return x if options.ngpt else norm(state, "layer_norm", options, x)


def plain_block(block, options, x, index):
    x = x + attention(block, options, norm(block, "attention_norm", options, x), index) @ block["wo.weight"].T
    return x + feed_forward(block, options, norm(block, "ffn_norm", options, x))


def ngpt_block(block, options, x, index):
    start = 1 / math.sqrt(960) if options.base_scale is None else options.base_scale
    towards = attention(block, options, x, index) @ block["wo.weight"].T
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


def attention(block, options, x, index):
    """Head by head: rows of ``qkv`` are [q, k, v] of the first head, then of the second."""
    width = options.hidden_size // options.num_attention_heads
    local = options.global_every is not None and index % options.global_every != 0
    heads = []
    for head in range(options.num_attention_heads):
        rows = block["qkv.weight"][3 * width * head : 3 * width * (head + 1)]
        q, k, v = x @ rows[:width].T, x @ rows[width : 2 * width].T, x @ rows[2 * width :].T
        temperature = 1.0
        if options.rope:
            speeds, temperature = angles(options, width, local)
            q, k = turn(q, speeds), turn(k, speeds)
        scale = 1 / math.sqrt(width)
        if options.ngpt:
            sqk = block["sqk"][width * head : width * (head + 1)] / options.base_scale
            q, k, scale = sqk * unit(q), sqk * unit(k), math.sqrt(width)
        scores = q @ k.T * scale * temperature**2
        scores = torch.exp(scores - scores.detach().amax(-1, keepdim=True))
        if local:
            far = [[abs(i - j) > options.window for j in range(len(x))] for i in range(len(x))]
            scores = scores.masked_fill(torch.tensor(far), 0.0)
        heads.append(scores / scores.sum(-1, keepdim=True) @ v)
    return torch.cat(heads, dim=-1)


def angles(options, width, local):
    """The angle of each pair from one position to the next, and what YaRN multiplies q and k by."""
    own = local and options.local_rope_theta is not None
    theta, scaling = (options.local_rope_theta, None) if own else (options.rope_theta, options.rope_scaling)
    plain = [theta ** (-2 * pair / width) for pair in range(width // 2)]
    if scaling is None:
        return plain, 1.0
    if scaling.type == "linear":
        return [speed / scaling.factor for speed in plain], 1.0
    if scaling.type == "ntk":
        return [speed * scaling.factor ** (-2 * pair / (width - 2)) for pair, speed in enumerate(plain)], 1.0
    length = scaling.original_max_position_embeddings
    bounds = [width * math.log(length / (2 * math.pi * turns)) / (2 * math.log(theta)) for turns in (32.0, 1.0)]
    first, last = max(math.floor(bounds[0]), 0), min(math.ceil(bounds[1]), width - 1)
    shares = [min(1.0, max(0.0, (pair - first) / (last - first))) for pair in range(width // 2)]
    speeds = [speed * (1 - share + share / scaling.factor) for speed, share in zip(plain, shares, strict=True)]
    return speeds, 0.1 * math.log(scaling.factor) + 1


def turn(x, speeds):
    """Pair j at position m times exp(i m speeds[j])."""
    length = len(x)
    columns = []
    for pair, speed in enumerate(speeds):
        angles = torch.arange(length, dtype=x.dtype) * speed
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
