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
from neobert.training.assemble import first_context
from neobert.training.devices import Placement, refuse_unfit_device
from neobert.training.groups import group_parameters

STAND_IN_VOCABULARY = 128
FP32 = 4


@frozen
class Sizes:
    """Counted, not estimated: parameters, and the bytes that a forward pass keeps for the backward."""

    body_parameters: int
    vocabulary_parameters_per_row: int
    saved_bytes: int


def describe(recipe: Recipe) -> list[tuple[str, str]]:
    """Rows of (what, how much): parameters, tokens a step, estimated memory.

    Raises RecipeError where a part cannot run on this machine's device.
    """
    refuse_unfit_device(recipe)
    context = first_context(recipe, Placement(torch.device("meta"), 0, 1, 1), Path(recipe.trainer.output_dir))
    sizes = _measure(recipe, evolve(context, vocab_size=STAND_IN_VOCABULARY))
    trainer, length = recipe.trainer, recipe.dataset.max_seq_length
    micro_batch = trainer.per_device_train_batch_size * length
    # Weights, gradients, and the two moments that Adam and its kin hold.
    fixed = sizes.body_parameters * FP32 * 4
    return [
        (
            "parameters",
            f"{sizes.body_parameters:,} without embedding and head, which add {sizes.vocabulary_parameters_per_row:,} "
            "a vocabulary entry: how many entries there are is known once the tokenizer is built",
        ),
        (
            "tokens a step",
            f"up to {micro_batch * trainer.gradient_accumulation_steps:,} = "
            f"{trainer.gradient_accumulation_steps} x {trainer.per_device_train_batch_size} x {length} "
            "(micro-batches x sequences x tokens)",
        ),
        (
            "estimated memory",
            f"{_gigabytes(fixed)} for weights, gradients and optimizer state, {_gigabytes(sizes.saved_bytes)} "
            "for a micro-batch's activations; embedding, head and its logits come on top",
        ),
    ]


def _measure(recipe: Recipe, context: BuildContext) -> Sizes:
    with torch.device("meta"):
        encoder = recipe.model.build(context)
        loss = recipe.loss.build(evolve(context, encoder=encoder))
    groups = group_parameters(encoder, loss)
    per_role = {"body": 0, "vocabulary": 0}
    for group in groups:
        kind = "vocabulary" if group.role in ("embedding", "head") else "body"
        for parameter in group.parameters.values():
            # A table that is not indexed by the vocabulary (positions) belongs to the body.
            by_vocabulary = kind == "vocabulary" and parameter.shape[0] == STAND_IN_VOCABULARY
            per_role["vocabulary" if by_vocabulary else "body"] += parameter.numel()
    return Sizes(per_role["body"], per_role["vocabulary"] // STAND_IN_VOCABULARY, _saved_bytes(recipe, encoder))


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


def _gigabytes(count: int) -> str:
    return f"{count / 2**30:.2f} GiB"
