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
from torch import Tensor, nn

from neobert.abilities import loss_with_head, main_objective, predicts
from neobert.errors import UserError
from neobert.weights.files import PROJECTION_FOLDER, Location, WeightFiles, find_weights, read_shapes, read_weights
from neobert.weights.placing import Placing
from neobert.weights.prediction import NO_PLACE, afresh, plan_prediction_head, split_prediction_head
from neobert.weights.vocabulary import compare_vocabulary

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

ENCODER, LOSS, LOSSES, NO_WEIGHTS = "encoder.", "loss.", "losses.", ("optimizer.", "ema.")
BODY, HEAD = "model.", "decoder."
"""Where an export has the body and the head of an encoder that maps to no other library."""
WRAPPERS = ("_orig_mod.", "module.")
"""What torch.compile and DDP put into names."""


def load_weights(
    path: str | Path, encoder: Any, loss: Any, *, num_tokens: int | None = None, tokenizer: Any | None = None
) -> str:
    """Fills encoder and loss from a run, checkpoint, export or safetensors file; returns a line about it.

    Model weights only: no optimizer state, no place in the data. ``tokenizer``, the run's, is compared with the one
    beside the weights. ``num_tokens`` is its length: a file may lack rows of the vocabulary from there on, which are
    padding. ``loss`` may be an ``nn.ModuleDict`` of several objectives' losses. A loss without a head leaves the file's
    head out and says so. Raises UserError that lists what is left
    over, missing or misshapen; nothing is changed then.
    """
    location = find_weights(Path(path))
    about = [] if tokenizer is None else compare_vocabulary(location, tokenizer)
    placing, notes = _plan(read_weights(location), encoder, loss, num_tokens)
    placing.apply()
    count = f"{len(placing.copies)} tensors from {location.source}"
    return "; ".join((*location.notes, count, *notes, *placing.notes, *about))


def check_weights(location: Location, encoder: Any, loss: Any, *, num_tokens: int | None) -> None:
    """Raises UserError where `load_weights` would, as far as names and shapes tell.

    Encoder and loss are on the meta device, and only the headers of files are read. ``num_tokens`` None: there is no
    tokenizer yet, so that a vocabulary of any size fits.
    """
    placing, _ = _plan(read_shapes(location), encoder, loss, num_tokens, rows_are_known=num_tokens is not None)
    placing.check()


def _plan(
    files: WeightFiles, encoder: Any, loss: Any, num_tokens: int | None, *, rows_are_known: bool = True
) -> tuple[Placing, list[str]]:
    """What goes where, and notes about the files."""
    tensors, notes = _unwrapped(files.tensors)
    placing = Placing(files.location.source, num_tokens, rows_are_known, files.config.get("model_type"))
    plan = _plan_checkpoint if _is_checkpoint(tensors, encoder) else _plan_foreign
    losses = dict(loss.items()) if isinstance(loss, nn.ModuleDict) else {"": loss}
    notes += plan(placing, evolve(files, tensors=tensors), encoder, losses)
    return placing, notes


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


def _plan_checkpoint(placing: Placing, files: WeightFiles, encoder: Any, losses: Mapping[str, Any]) -> list[str]:
    """Our own checkpoint: names are those of the modules; optimizer state and averaged weights are left."""
    rest = {name: tensor for name, tensor in files.tensors.items() if not name.startswith(NO_WEIGHTS)}
    ours = {name.removeprefix(ENCODER): rest.pop(name) for name in files.tensors if name.startswith(ENCODER)}
    heads = _by_objective({name: rest.pop(name) for name in files.tensors if name.startswith((LOSS, LOSSES))})
    notes: list[str] = []
    if hasattr(encoder, "import_weights"):
        # The names are its own already, but the checkpoint's recipe may describe another model.
        ours, _, notes = encoder.import_weights(ours, files.config)
    vocabulary = {id(encoder.input_embedding.weight)}
    for loss in losses.values():
        vocabulary |= set(map(id, _head_of(loss).values()))
    placing.plan(encoder.state_dict(keep_vars=True), {**ours, **rest}, vocabulary)
    found = _matched(heads, losses)
    for name, loss in losses.items():
        notes += _plan_loss(placing, loss, found[name], vocabulary)
    unused = [head for head in heads.values() if not any(head is taken for taken in found.values())]
    return [*notes, *(line for head in unused for line in _left_out(head))]


def _by_objective(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """The tensors of each objective's loss under their own names; of a run with one, all under ``""``."""
    heads: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        objective, name = ("", key.removeprefix(LOSS))
        if key.startswith(LOSSES):
            objective, _, name = key.removeprefix(LOSSES).partition(".")
        heads.setdefault(objective, {})[name] = tensor
    return heads


def _matched(heads: Mapping[str, dict[str, Tensor]], losses: Mapping[str, Any]) -> dict[str, dict[str, Tensor] | None]:
    """What a file has for each loss: of the same objective; else, for the one that has the vocabulary's head, a head
    that fits. None: nothing, of several losses."""
    if heads.keys() <= {""} and losses.keys() == {""}:
        return {"": heads.get("", {})}
    found = {name: heads.get(name) for name in losses}
    for name, loss in losses.items():
        if found[name] is None and loss is loss_with_head(losses):
            wanted = loss.state_dict().keys()
            found[name] = next((head for head in heads.values() if head.keys() == wanted), None)
    return found


def _plan_loss(placing: Placing, loss: Any, given: dict[str, Tensor] | None, vocabulary: Collection[int]) -> list[str]:
    """A head strictly; of any other loss what file and loss have in common."""
    wanted = loss.state_dict(keep_vars=True)
    if given is not None and hasattr(loss, "head_state"):
        placing.plan(wanted, given, vocabulary)
        return []
    given = given or {}
    common = given.keys() & wanted.keys()
    # Of other classes, say: the layer that tells them apart is another one.
    other = sorted(name for name in common if predicts(loss) and given[name].shape != wanted[name].shape)
    shared = common - set(other)
    placing.plan(_only(wanted, shared), _only(given, shared), vocabulary)
    return [
        *_left_out(given.keys() - common),
        *afresh(wanted.keys() - common),
        *(f"{name} starts afresh: it is {_shape(given[name])} there, {_shape(wanted[name])} here" for name in other),
    ]


def _plan_foreign(placing: Placing, files: WeightFiles, encoder: Any, losses: Mapping[str, Any]) -> list[str]:
    """Weights that the encoder reads, or that bear its own names. A loss is filled as far as it is a head."""
    tensors, predicting = split_prediction_head(files.tensors, files.config)
    if hasattr(encoder, "import_weights"):
        ours, head, notes = encoder.import_weights(tensors, files.config)
    else:
        ours, head, notes = *_as_exported(tensors, encoder), []
    embedding = encoder.input_embedding.weight
    placing.plan(encoder.state_dict(keep_vars=True), ours, {id(embedding)})
    main = losses[main_objective(losses)]
    notes = [*notes, *_plan_projection(placing, files, main), *plan_prediction_head(placing, predicting, main)]
    targets = _head_of(loss_with_head(losses))
    if not targets:
        return [*notes, *_left_out(head)]
    if _is_same(targets["weight"], embedding):
        _check_tie(placing, head.get("weight"), placing.tensor_for(embedding))
        targets, head = _only(targets, {"bias"}), _only(head, {"bias"})
    named = {f"head {name}": tensor for name, tensor in targets.items()}
    placing.plan(named, {f"head {name}": tensor for name, tensor in head.items()}, {*map(id, targets.values())})
    return list(notes)


def _plan_projection(placing: Placing, files: WeightFiles, loss: Any) -> list[str]:
    """The linear layer behind a pooling: a sentence encoder's folder has it in a file of its own."""
    saved = files.projection()
    layer = loss.sentence_head().projection if hasattr(loss, "sentence_head") else None
    if layer is None:
        return [f"without its projection ({PROJECTION_FOLDER}), for which this loss has no place"] if saved else []
    if not saved:
        return ["the loss's projection starts afresh"]
    weight, bias = layer
    targets = {"weight": weight} | ({} if bias is None else {"bias": bias})
    named = {f"projection {name}": tensor for name, tensor in targets.items()}
    placing.plan(named, {f"projection {name}": tensor for name, tensor in saved.items()}, set())
    return []


def _check_tie(placing: Placing, head: Tensor | None, embedding: Tensor | None) -> None:
    if head is None or embedding is None or head.is_meta:
        return
    if not torch.equal(head, embedding):
        placing.problems.append(
            "left over in the file: head weight, which is a matrix of its own there and the embedding here "
            "(tie_word_embeddings = false gives the head one)"
        )


def _is_same(one: Tensor, other: Tensor) -> bool:
    """Whether both are one tensor in memory; on the meta device, where there is none, by their storages."""
    return one.shape == other.shape and one.untyped_storage()._cdata == other.untyped_storage()._cdata


def _as_exported(tensors: Mapping[str, Tensor], encoder: Any) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Body and head as our own export writes those of an encoder with no layout but its own (see `neobert.export`).

    An export without a head, and any other file, has the encoder's own names.
    """
    prefixed = all(name.startswith((BODY, HEAD)) for name in tensors) and f"{HEAD}weight" in tensors
    if not prefixed or tensors.keys() <= encoder.state_dict().keys():
        return dict(tensors), {}
    body = {name.removeprefix(BODY): tensor for name, tensor in tensors.items() if name.startswith(BODY)}
    return body, {name.removeprefix(HEAD): tensor for name, tensor in tensors.items() if name.startswith(HEAD)}


def _head_of(loss: Any) -> dict[str, Tensor]:
    """The head's own tensors, to be written into; empty for a loss without a vocabulary head."""
    return dict(loss.head_state()) if hasattr(loss, "head_state") else {}


def _left_out(names: Collection[str]) -> list[str]:
    return [NO_PLACE.format(", ".join(sorted(names)))] if names else []


def _shape(tensor: Tensor) -> list[int]:
    return list(tensor.shape)


def _only(tensors: Mapping[str, Tensor], names: Collection[str]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in tensors.items() if name in names}
