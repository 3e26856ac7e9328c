"""What a stranger's options build: plain functions and classes, nothing of ours inherited.

Shapes: T tokens in the stream, H heads, D head dim, C hidden size, M masked tokens.
"""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from neobert import Batch, LossOutput, SequenceLayout

NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def attend(q, k, v, layout, *, scale, window=None, dropout_p=0.0):
    if dropout_p:
        raise ValueError("no dropout here")
    out, bounds = [], layout.cu_seqlens.tolist()
    for start, stop in pairwise(bounds):
        scores = torch.einsum("ihd,jhd->hij", q[start:stop], k[start:stop]) * scale
        if window is not None:
            place = torch.arange(stop - start, device=q.device)
            scores = scores.masked_fill((place[:, None] - place[None]).abs() > window, float("-inf"))
        out.append(torch.einsum("hij,jhd->ihd", scores.softmax(-1), v[start:stop]))
    return torch.cat(out)


class Gated(nn.Module):
    def __init__(self):
        super().__init__()
        self.gate = nn.Parameter(torch.rand(()))

    def forward(self, q, k, v, layout, *, scale, window=None, dropout_p=0.0):
        if window is not None:
            raise ValueError("no window here")
        return attend(q, k, v, layout, scale=scale, dropout_p=dropout_p) * self.gate.to(q.dtype)


class Wrapping:
    def __init__(self, inner):
        self.inner = inner

    def __call__(self, q, k, v, layout, *, scale, window=None, dropout_p=0.0):
        if window is not None or dropout_p:
            raise ValueError("neither window nor dropout here")
        return self.inner(q, k, v, layout, scale=scale)


class Block(nn.Module):
    def __init__(self, width, attend):
        super().__init__()
        self.attend = attend
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x_TC, layout):
        q, k, v = self.qkv(self.norm(x_TC)).view(len(x_TC), 3, 2, -1).unbind(1)
        return x_TC + self.out(self.attend(q, k, v, layout, scale=q.shape[-1] ** -0.5).flatten(1))


class Small(nn.Module):
    def __init__(self, options, context):
        super().__init__()
        self.hidden_size = options.width
        self.vocab_size = context.vocab_size
        self.input_embedding = nn.Embedding(context.vocab_size, options.width)
        self.places = nn.Embedding(context.max_seq_length, options.width)
        self.blocks = nn.ModuleList(Block(options.width, part.build(context)) for part in options.attention)

    def forward(self, input_ids, layout, keep=None):
        x_TC = self.input_embedding(input_ids) + self.places(layout.position_ids)
        for block in self.blocks:
            x_TC = block(x_TC, layout)
        return x_TC if keep is None else x_TC[keep]


class HalfExported(Small):
    def export(self):
        return {"hidden_size": self.hidden_size}, self.state_dict()


def make_tokenizer(options, context):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    counts = Counter(word for row in context.dataset["train"] for word in row["text"].split())
    special = {"pad_token": "<pad>", "unk_token": "<unk>", **({"mask_token": "<mask>"} if options.mask else {})}
    tokens = [*special.values(), *sorted(counts)]
    backend = Tokenizer(models.WordLevel({token: i for i, token in enumerate(tokens)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=backend, **special)


def make_rows(options, context):
    from datasets import Dataset

    rng = np.random.default_rng(context.seed)

    def text():
        start, length = rng.integers(10), rng.integers(2, 50)
        return " ".join(NUMBERS[(start + i) % 10] for i in range(length))

    def rows(count):
        texts = [text() for _ in range(count)]
        return Dataset.from_dict(dict.fromkeys(options.columns, texts))

    return {"train": rows(60), "eval": rows(12)}


def make_collator(context):
    mask, known = context.tokenizer.mask_token_id, set(context.tokenizer.all_special_ids)
    assert "train" in context.dataset

    def collate(examples, rng):
        lengths = [len(example["input_ids"]) for example in examples]
        ids = np.concatenate([np.asarray(example["input_ids"]) for example in examples]).astype(np.int64)
        layout = SequenceLayout(torch.tensor([0, *lengths]).cumsum(0).to(torch.int32), max(lengths))
        parity = torch.tensor([length % 2 for length in lengths])
        if mask is None:
            return Batch(torch.from_numpy(ids), layout, {"labels": parity})
        places = [i for i in range(rng.integers(3), len(ids), 3) if ids[i] not in known]
        labels = torch.from_numpy(ids[places])
        ids[places] = mask
        where = torch.tensor(places, dtype=torch.int64)
        return Batch(torch.from_numpy(ids), layout, {"masked_positions": where, "labels": labels, "parity": parity})

    return collate


class Head(nn.Module):
    def __init__(self, context):
        super().__init__()
        self.decoder = nn.Linear(context.encoder.hidden_size, context.vocab_size)
        self.dropout = nn.Dropout(0.1)

    def logits(self, encoder, hidden_MC):
        return self.decoder(self.dropout(hidden_MC))

    def head_state(self):
        return {"weight": self.decoder.weight, "bias": self.decoder.bias}

    def forward(self, encoder, batch):
        hidden_MC = encoder(batch.input_ids, batch.layout, keep=batch.fields["masked_positions"])
        labels = batch.fields["labels"]
        logits = self.logits(encoder, hidden_MC)
        right = (logits.argmax(-1) == labels).sum()
        return LossOutput(F.cross_entropy(logits, labels, reduction="sum"), torch.tensor(len(labels)), {"right": right})


class Parity(nn.Module):
    def __init__(self, context):
        super().__init__()
        self.out = nn.Linear(context.encoder.hidden_size, 2)

    def forward(self, encoder, batch):
        pieces = encoder(batch.input_ids, batch.layout).split(batch.layout.lengths)[: batch.num_sequences]
        logits = self.out(torch.stack([piece.mean(0) for piece in pieces]))
        wanted = batch.fields.get("parity", batch.fields["labels"])
        total = F.cross_entropy(logits, wanted, reduction="sum")
        return LossOutput(total, torch.tensor(float(batch.num_sequences)), {"share": 0.5 * batch.num_sequences})


class Sum(nn.Module):
    def __init__(self, main, others):
        super().__init__()
        self.main = main
        self.others = nn.ModuleDict(others)

    def logits(self, encoder, hidden_MC):
        return self.main.logits(encoder, hidden_MC)

    def head_state(self):
        return self.main.head_state()

    def forward(self, encoder, batch):
        first = self.main(encoder, batch)
        rest = {name: other(encoder, batch).total for name, other in self.others.items()}
        metrics = {**first.metrics, **{name: total.detach() for name, total in rest.items()}}
        return LossOutput(first.total + 0.1 * sum(rest.values()), first.count, metrics)


class Restless(torch.optim.Optimizer):
    def __init__(self, parameters, lr):
        super().__init__(parameters, {"lr": lr, "steps": 0, "scale": torch.tensor(1.0), "betas": (0.5, 0.9)})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            group["steps"] += 1
            group["late"] = group.get("late", 0.0) + 0.25
            group["scale"] = group["scale"] * 0.9
            for p in group["params"]:
                if p.grad is not None:
                    state = self.state[p]
                    state["wide"] = state.get("wide", 0.0) * group["betas"][0] + p.grad.double()
                    p -= (group["lr"] * group["scale"] * state["wide"] / (group["steps"] + group["late"])).to(p.dtype)


class NumpyFiles:
    """bfloat16 goes as int16, which has its bits."""

    def save(self, directory, state):
        tensors = {key: value for key, value in state.items() if isinstance(value, torch.Tensor)}
        arrays = {
            key: (tensor.view(torch.int16) if tensor.dtype == torch.bfloat16 else tensor).cpu().numpy()
            for key, tensor in tensors.items()
        }
        np.savez(directory / "tensors.npz", **arrays)
        values = {key: str(state[key].dtype) if key in tensors else {"value": state[key]} for key in state}
        (directory / "values.json").write_text(json.dumps(values))

    def load(self, directory, state):
        values = json.loads((directory / "values.json").read_text())
        if values.keys() != state.keys():
            raise ValueError(f"other keys: {sorted(values.keys() ^ state.keys())}")
        with np.load(directory / "tensors.npz") as arrays:
            return {key: self._filled(key, values[key], template, arrays) for key, template in state.items()}

    def _filled(self, key, value, template, arrays):
        if not isinstance(template, torch.Tensor) and isinstance(value, dict):
            return value["value"]
        if not isinstance(template, torch.Tensor) or value != str(template.dtype):
            raise ValueError(f"{key} is another thing")
        tensor = torch.from_numpy(arrays[key])
        if tensor.shape != template.shape:
            raise ValueError(f"{key} has another shape")
        return (tensor.view(torch.bfloat16) if template.dtype == torch.bfloat16 else tensor).to(template.device)


class Lines:
    def __init__(self, path):
        self.file = path.open("a", encoding="utf-8")

    def log(self, metrics, step):
        self.file.write(json.dumps({"step": step, **metrics}) + "\n")

    def close(self):
        self.file.close()
