"""Puts weights into an encoder and a loss: every tensor used once, every parameter filled, or an error.

An encoder may have a method ``import_weights(tensors, config) -> (own, head, notes)`` that reads foreign
layouts: its own tensors by name, the head's under ``weight`` and ``bias``, and notes for a person. Names that
it doesn't know stay in the first mapping, and are refused here. Without that method, names must be its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from attrs import evolve
from torch import Tensor

from neobert.errors import UserError
from neobert.weights.files import WeightFiles, read_weights
from neobert.weights.placing import Placing

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

ENCODER, LOSS, NO_WEIGHTS = "encoder.", "loss.", ("optimizer.", "ema.")
WRAPPERS = ("_orig_mod.", "module.")
"""What torch.compile and DDP put into names."""


def load_weights(path: str | Path, encoder: Any, loss: Any, *, num_tokens: int | None = None) -> str:
    """Fills encoder and loss from a run, checkpoint, export or safetensors file; returns a line about it.

    Model weights only: no optimizer state, no place in the data. ``num_tokens`` is the tokenizer's length: a
    file may lack rows of the vocabulary from there on, which are padding. A loss without a head leaves the
    file's head out and says so. Raises UserError that lists what is left over, missing or misshapen; nothing
    is changed then.
    """
    files = read_weights(Path(path))
    tensors, notes = _unwrapped(files.tensors)
    placing = Placing(files.source, num_tokens)
    if _is_checkpoint(tensors, encoder):
        notes += _plan_checkpoint(placing, evolve(files, tensors=tensors), encoder, loss)
    else:
        notes += _plan_foreign(placing, evolve(files, tensors=tensors), encoder, loss)
    placing.apply()
    return "; ".join((f"{len(placing.copies)} tensors from {files.source}", *notes, *placing.notes))


def _unwrapped(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Names without what torch.compile and DDP put into them, and a note where there was any."""
    renamed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        plain = name
        for wrapper in WRAPPERS:
            plain = plain.removeprefix(wrapper).replace(f".{wrapper}", ".")
        if plain in renamed:
            msg = f"two tensors of the file are both {plain}, one of them under a wrapper's name"
            raise UserError(msg)
        renamed[plain] = tensor
    count = sum(name not in renamed for name in tensors)
    return renamed, [f"{count} names held _orig_mod. or module., which is left out"] if count else []


def _is_checkpoint(tensors: Mapping[str, Tensor], encoder: Any) -> bool:
    own = encoder.state_dict()
    return any(name.startswith(ENCODER) and name.removeprefix(ENCODER) in own for name in tensors)


def _plan_checkpoint(placing: Placing, files: WeightFiles, encoder: Any, loss: Any) -> list[str]:
    """Our own checkpoint: names are those of the two modules; optimizer state and averaged weights are left."""
    rest = {name: tensor for name, tensor in files.tensors.items() if not name.startswith(NO_WEIGHTS)}
    ours = {name.removeprefix(ENCODER): rest.pop(name) for name in files.tensors if name.startswith(ENCODER)}
    head = {name.removeprefix(LOSS): rest.pop(name) for name in files.tensors if name.startswith(LOSS)}
    if hasattr(encoder, "import_weights"):
        # The names are its own already, but the checkpoint's recipe may describe another model.
        ours, _, _ = encoder.import_weights(ours, files.config)
    wanted = loss.state_dict(keep_vars=True)
    vocabulary = {id(encoder.input_embedding.weight), *map(id, _head_of(loss).values())}
    placing.plan(encoder.state_dict(keep_vars=True), {**ours, **rest}, vocabulary)
    if hasattr(loss, "head_state"):
        placing.plan(wanted, head, vocabulary)
        return []
    shared = head.keys() & wanted.keys()
    placing.plan(_only(wanted, shared), _only(head, shared), vocabulary)
    return [
        *_left_out(head.keys() - shared),
        *(f"{name} starts afresh" for name in sorted(wanted.keys() - shared)),
    ]


def _plan_foreign(placing: Placing, files: WeightFiles, encoder: Any, loss: Any) -> list[str]:
    """Weights that the encoder reads, or that bear its own names. A loss is filled as far as it is a head."""
    if hasattr(encoder, "import_weights"):
        ours, head, notes = encoder.import_weights(files.tensors, files.config)
    else:
        ours, head, notes = dict(files.tensors), {}, []
    embedding = encoder.input_embedding.weight
    placing.plan(encoder.state_dict(keep_vars=True), ours, {id(embedding)})
    targets = _head_of(loss)
    if not targets:
        return [*notes, *_left_out(head)]
    if targets["weight"].data_ptr() == embedding.data_ptr():
        _check_tie(placing, head.get("weight"), placing.tensor_for(embedding))
        targets, head = _only(targets, {"bias"}), _only(head, {"bias"})
    named = {f"head {name}": tensor for name, tensor in targets.items()}
    placing.plan(named, {f"head {name}": tensor for name, tensor in head.items()}, {*map(id, targets.values())})
    return list(notes)


def _check_tie(placing: Placing, head: Tensor | None, embedding: Tensor | None) -> None:
    if head is not None and embedding is not None and not torch.equal(head, embedding):
        placing.problems.append(
            "left over in the file: head weight, which is a matrix of its own there and the embedding here "
            "(tie_word_embeddings = false gives the head one)"
        )


def _head_of(loss: Any) -> dict[str, Tensor]:
    """The head's own tensors, to be written into; empty for a loss without a vocabulary head."""
    return dict(loss.head_state()) if hasattr(loss, "head_state") else {}


def _left_out(names: Collection[str]) -> list[str]:
    return [f"without the head ({', '.join(sorted(names))}), for which this loss has no place"] if names else []


def _only(tensors: Mapping[str, Tensor], names: Collection[str]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in tensors.items() if name in names}
