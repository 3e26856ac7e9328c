"""One process of several: ``python one_rank.py RANK RANKS FOLDER``. Writes what each case comes to, summed over ranks.

With RANKS = 1 no process group is made.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from attrs import evolve
from safetensors.torch import save_file
from torch import distributed as dist
from torch.nn import functional as F

from neobert import SequenceLayout
from neobert.contrast import gathered
from neobert.contrast.chunks import chunk_bounds
from neobert.contrast.pooling import pool
from neobert.testing import TinyEncoder, make_context
from neobert.testing.embedding import embedding_batch, make_examples
from neobert_plugins.losses import CoSENT, InfoNCE, Matryoshka, SupCon
from neobert_plugins.models import NeoBERT

HARD = {"hard_negative_weight": 2.5, "margin": 0.1, "learn_temperature": True}
LOSSES = {
    "info_nce": InfoNCE(),
    "in chunks": InfoNCE(chunk_tokens=12, pooling="cls"),
    "both ways": InfoNCE(symmetric=True, projection_size=5, **HARD),
    "supcon": SupCon(),
    "cosent": CoSENT(),
    "matryoshka": Matryoshka(dims=(8, 3)),
}
CHUNK = 12
SPLITS = {"halves": (3, 3), "uneven": (5, 1), "one has none": (6, 0)}


def share(examples, split, rank):
    """This rank's examples; a rank without any has a batch in which nothing is an example."""
    start = sum(split[:rank])
    mine = examples[start : start + split[rank]]
    if mine:
        return embedding_batch(mine)
    batch = embedding_batch(examples[:1])
    return evolve(batch, fields={name: value[:0] for name, value in batch.fields.items()})


def measure(options, batch):
    """Total, count, metrics and gradients, in training."""
    torch.manual_seed(0)
    encoder = TinyEncoder(120)
    loss = options.build(make_context(encoder=encoder)).double().train()
    output = loss(encoder, batch)
    output.total.backward()
    named = [*encoder.named_parameters(prefix="encoder"), *loss.named_parameters(prefix="loss")]
    found = {f"gradient {name}": parameter.grad for name, parameter in named}
    return found | {"total": output.total, "count": output.count} | dict(output.metrics)


def measure_with_dropout(examples, split, rank, ranks):
    """In chunks with checkpoints, a rank's share each; or as one process would that keeps everything: the shares'
    chunks one after the other, the embeddings put together, one loss.
    """
    torch.manual_seed(0)
    context = make_context(vocab_size=120)
    model = NeoBERT(hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16, dropout_prob=0.3)
    encoder = model.build(context).double().train()
    options = InfoNCE(chunk_tokens=CHUNK, symmetric=True)
    loss = options.build(evolve(context, encoder=encoder)).double().train()
    if ranks > 1:
        torch.manual_seed(100 + rank)
        output = loss(encoder, share(examples, split, rank))
    else:
        parts = []
        for number in range(len(split)):
            torch.manual_seed(100 + number)
            parts.append(looped(encoder, share(examples, split, number)))
        thirds = zip(*(torch.chunk(part, 3) for part in parts), strict=True)
        embeddings = torch.cat([torch.cat(third) for third in thirds])
        output = loss.losses_from(F.normalize(embeddings, dim=-1), embedding_batch(examples))
    output.total.backward()
    found = {f"gradient {name}": parameter.grad for name, parameter in encoder.named_parameters()}
    return found | {"total": output.total, "count": output.count}


def looped(encoder, batch):
    """Pooled chunk after chunk, nothing computed twice."""
    pieces, lengths = [], batch.layout.lengths
    for first, last in chunk_bounds(lengths, CHUNK):
        ids = batch.input_ids[sum(lengths[:first]) : sum(lengths[:last])]
        pieces.append(pool(encoder, ids, SequenceLayout.from_lengths(lengths[first:last]), "mean"))
    return torch.cat(pieces)


def summed(tensors):
    """Over all ranks, as the core does it."""
    sums = {}
    for name in sorted(tensors):
        value = tensors[name].detach().double().clone().contiguous()
        if dist.is_initialized():
            dist.all_reduce(value)
        sums[name] = value
    return sums


def main(rank, ranks, folder):
    torch.set_num_threads(1)
    if ranks > 1:
        dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=ranks)
    examples, found = make_examples(), {}
    for split_name, split in SPLITS.items():
        batch = share(examples, split if ranks > 1 else (len(examples),), rank)
        for name, options in LOSSES.items():
            found |= {f"{split_name}/{name}/{key}": value for key, value in summed(measure(options, batch)).items()}
        if all(split):
            sums = summed(measure_with_dropout(examples, split, rank, ranks))
            found |= {f"{split_name}/dropout/{key}": value for key, value in sums.items()}
    if ranks > 1:
        found |= {f"rows/{rank}/{number}": value for number, value in enumerate(rows_of(rank))}
        dist.destroy_process_group()
    save_file(found, folder / f"{rank}-of-{ranks}.safetensors")


def rows_of(rank):
    """What `gathered` gives for 2 rows here and 3 there, and the gradient of those here."""
    mine = torch.full((2 + rank, 2), 10.0 * (rank + 1), requires_grad=True)
    rows = gathered(mine, torch.arange(2 + rank))
    vectors, numbers = rows.tensors
    (vectors * (rank + 1) * torch.arange(len(vectors)).unsqueeze(1)).sum().backward()
    return (
        vectors.detach().clone(),
        numbers,
        torch.tensor(rows.start),
        mine.grad,
        gathered(mine[:0]).tensors[0].detach(),
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
