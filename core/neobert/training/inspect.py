"""What ``--check`` can say of a run without data, weights or a step: sizes, counted on the meta device."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from attrs import evolve, frozen
from torch import Tensor, nn

from neobert.batch import SequenceLayout
from neobert.context import BuildContext
from neobert.recipe import Recipe
from neobert.training.data_parts import first_context, padded_vocab_size
from neobert.training.devices import Placement, refuse_unfit_device
from neobert.training.groups import group_parameters

STAND_IN_VOCABULARY = 8191
"""A prime, so that no other table has as many rows. It costs nothing on the meta device."""
FP32 = 4


@frozen
class Sizes:
    """Counted, not estimated: parameters, and what a forward pass keeps for the backward."""

    body_parameters: int
    parameters_a_row: int
    """Of embedding and head, for each vocabulary entry."""
    activations: str
    """In words: GiB, or why they are unknown."""


def describe(recipe: Recipe) -> list[tuple[str, str]]:
    """Rows of (what, how much): parameters, tokens a step, estimated memory.

    Raises RecipeError where a part cannot run on this machine's device, UserError where weights are not there.
    """
    refuse_unfit_device(recipe)
    refuse_missing_weights(recipe)
    trainer, length = recipe.trainer, recipe.dataset.max_seq_length
    tokens = trainer.gradient_accumulation_steps * trainer.per_device_train_batch_size * length
    batch = f"{trainer.gradient_accumulation_steps} x {trainer.per_device_train_batch_size} x {length}"
    rows = [("tokens a step", f"up to {tokens:,} = {batch} (micro-batches x sequences x tokens)")]
    context = first_context(recipe, Placement(torch.device("meta"), 0, 1, 1), Path(trainer.output_dir))
    try:
        sizes = _measure(recipe, evolve(context, vocab_size=STAND_IN_VOCABULARY))
    except Exception as error:
        # An estimate refuses no recipe: parts may need data, or tensors that hold values.
        return [("parameters", f"not counted: {_in_a_line(error)}"), *rows]
    vocabulary = _known_vocabulary(recipe)
    return [("parameters", _parameters(sizes, vocabulary)), *rows, ("estimated memory", _memory(sizes, vocabulary))]


def refuse_missing_weights(recipe: Recipe) -> None:
    """Raises UserError where ``model.weights`` names nothing that can be read: before data is prepared, not after."""
    if recipe.model.weights is not None:
        from neobert.weights import find_weights

        find_weights(Path(recipe.model.weights))


def _parameters(sizes: Sizes, vocabulary: int | None) -> str:
    if vocabulary is not None:
        total = sizes.body_parameters + vocabulary * sizes.parameters_a_row
        return f"{total:,}, of them {vocabulary * sizes.parameters_a_row:,} for {vocabulary:,} vocabulary entries"
    return (
        f"{sizes.body_parameters:,} without embedding and head, which add {sizes.parameters_a_row:,} a vocabulary "
        "entry: how many entries there are is known once the tokenizer is built"
    )


def _memory(sizes: Sizes, vocabulary: int | None) -> str:
    # Weights, gradients, and the two moments that Adam and its kin hold.
    fixed = (sizes.body_parameters + (vocabulary or 0) * sizes.parameters_a_row) * FP32 * 4
    rest = "the head's logits come" if vocabulary is not None else "embedding, head and its logits come"
    return (
        f"{_gigabytes(fixed)} for weights, gradients and optimizer state, {sizes.activations} for a "
        f"micro-batch's activations; {rest} on top"
    )


def _known_vocabulary(recipe: Recipe) -> int | None:
    """Rows of the embedding where the tokenizer's options know them without work; None where they do not."""
    ask = getattr(recipe.tokenizer.options, "known_vocab_size", None)
    tokens: int | None = ask() if ask is not None else None
    return None if tokens is None else padded_vocab_size(tokens, recipe)


def _measure(recipe: Recipe, context: BuildContext) -> Sizes:
    with torch.device("meta"):
        encoder = recipe.model.build(context)
        loss = recipe.loss.build(evolve(context, encoder=encoder))
    body = rows = 0
    for group in group_parameters(encoder, loss):
        for parameter in group.parameters.values():
            # A table that is not indexed by the vocabulary (positions) belongs to the body.
            if group.role in ("embedding", "head") and parameter.shape[0] == STAND_IN_VOCABULARY:
                rows += parameter.numel()
            else:
                body += parameter.numel()
    return Sizes(body, rows // STAND_IN_VOCABULARY, _activations(recipe, encoder))


def _activations(recipe: Recipe, encoder: Any) -> str:
    try:
        return _gigabytes(_saved_bytes(recipe, encoder))
    except Exception as error:  # a forward pass that reads values, of which there are none here
        return f"an unknown amount ({_in_a_line(error)})"


def _saved_bytes(recipe: Recipe, encoder: Any) -> int:
    """Bytes that autograd keeps of one full micro-batch's forward pass, each storage once, weights left out."""
    count = recipe.trainer.per_device_train_batch_size
    length: int = recipe.dataset.max_seq_length
    if recipe.trainer.gradient_checkpointing:
        return count * length * int(encoder.hidden_size) * FP32 * (len(encoder.blocks) + 1)
    weights = {id(p) for p in encoder.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        if id(tensor) not in weights and not isinstance(tensor, nn.Parameter):
            kept[tensor.untyped_storage()._cdata] = tensor.untyped_storage().nbytes()
        return tensor

    layout = SequenceLayout.from_lengths([length] * count, "meta")
    ids = torch.zeros(count * length, dtype=torch.int64, device="meta")
    with ExitStack() as stack:
        stack.enter_context(torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor))
        held = encoder(ids, layout)
    del held
    return sum(kept.values())


def _in_a_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".partition("\n")[0]


def _gigabytes(count: int) -> str:
    return f"{count / 2**30:.2f} GiB"
