"""What ``--check`` can say of a run without data, weights or a step."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from attrs import evolve, frozen
from torch import nn

from neobert.context import BuildContext
from neobert.recipe import Recipe, attention_choices
from neobert.roles import roles_of
from neobert.training.data_parts import first_context, padded_vocab_size
from neobert.training.devices import Placement, attention_target, choose_device, refuse_unfit_device
from neobert.training.groups import group_parameters
from neobert.training.precision import products_row, tf32_row
from neobert.training.sharding import strategy_row
from neobert.training.starting_weights import STAND_IN_VOCABULARY, refuse_unfit_weights
from neobert.warmup import describe_warmups
from neobert.wording import gigabytes


@frozen
class Sizes:
    """Counted, not estimated."""

    body_parameters: int
    parameters_a_row: int
    """Of embedding and head, for each vocabulary entry."""


def describe(recipe: Recipe) -> list[tuple[str, str]]:
    """Rows of (what, how much): parameters, tokens a step, estimated memory.

    Raises RecipeError where a part cannot run on this machine's device, UserError where weights are not there or do
    not fit.
    """
    refuse_unfit_device(recipe)
    refuse_unfit_weights(recipe)
    trainer, views = recipe.trainer, recipe.views
    rows = []
    for name, view in views.items():
        of = f", {name}" if name else ""
        rows.append((f"tokens a step{of}", _tokens_a_step(view)))
        rows += [(what + of, said) for what, said in describe_warmups(trainer, view.dataset.max_seq_length)]
    rows += attention_choices(recipe, attention_target(recipe)).items()
    for what, row in (("tf32", tf32_row), ("fp32 matrix products", products_row)):
        if (said := row(trainer, choose_device(trainer))) is not None:
            rows.append((what, said))
    if (said := strategy_row(trainer, 1)) is not None:
        rows.append(("strategy", said))
    try:
        sizes = _measure(recipe, sized_context(recipe, torch.device("meta"), STAND_IN_VOCABULARY))
    except Exception as error:
        # An estimate refuses no recipe: parts may need data, or tensors that hold values.
        return [("parameters", f"not counted: {_in_a_line(error)}"), *rows]
    vocabulary = _known_vocabulary(recipe)
    return [
        ("parameters", _parameters(sizes, vocabulary)),
        *rows,
        ("estimated peak memory", _memory(recipe, vocabulary)),
    ]


def _tokens_a_step(recipe: Recipe) -> str:
    """At most, and of what that is the product."""
    trainer, roles = recipe.trainer, roles_of(recipe.datacollator.options)
    factors = {
        "micro-batches": trainer.gradient_accumulation_steps,
        "sequences": trainer.per_device_train_batch_size,
        "tokens": recipe.dataset.max_seq_length,
    }
    more = ""
    if roles is not None and not recipe.datacollator.pack_sequences:
        # Two texts that are joined are one sequence.
        texts = (len(set(roles.texts) & set(roles.required)) - bool(roles.joined)) * roles.copies
        micro_batches, examples, tokens = factors.values()
        factors = {"micro-batches": micro_batches, "examples": examples, "texts": texts, "tokens": tokens}
        more = f", and the {' and '.join(roles.lists)}" if roles.lists else ""
    product, names = " x ".join(map(str, factors.values())), " x ".join(factors)
    return f"up to {math.prod(factors.values()):,} = {product} ({names}){more}"


def _parameters(sizes: Sizes, vocabulary: int | None) -> str:
    if vocabulary is not None:
        total = sizes.body_parameters + vocabulary * sizes.parameters_a_row
        return f"{total:,}, of them {vocabulary * sizes.parameters_a_row:,} for {vocabulary:,} vocabulary entries"
    return (
        f"{sizes.body_parameters:,} without embedding and head, which add {sizes.parameters_a_row:,} a vocabulary "
        "entry: how many entries there are is known once the tokenizer is built"
    )


def _memory(recipe: Recipe, vocabulary: int | None) -> str:
    """One number, and what it is made of; of several objectives that of the one that takes the most."""
    entries = vocabulary or largest_vocabulary(recipe)
    if entries is None:
        return "unknown: how many entries the vocabulary has is known once the tokenizer is built"
    from neobert.training.memory import estimate_peak, memory_of_libraries

    device = choose_device(recipe.trainer)
    # Before the estimate, whose own libraries no run needs.
    base = memory_of_libraries(recipe) if device.type == "cpu" else 0
    try:
        peaks = [estimate_peak(view, sized_context(view, device, entries)) for view in recipe.views.values()]
        peak = max(peaks, key=lambda one: one.total)
    except Exception as error:  # of a part that reads values, of which there are none here
        return f"unknown: {_in_a_line(error)}"
    on_cpu = device.type == "cpu"
    parts = {
        "Python and libraries": base,
        "weights": peak.weights,
        "gradients": peak.gradients,
        "optimizer state": peak.optimizer_state,
        "averaged weights": peak.average,
        "activations and what passes": peak.passing,
        "data and holes of the heap": peak.on_the_heap if on_cpu else 0,
    }
    listed = ", ".join(f"{what} {gigabytes(size)}" for what, size in parts.items() if size)
    where = "" if on_cpu else f" on {device.type}"
    bound = "" if vocabulary is not None else f"; for a vocabulary of {entries:,}, its largest"
    return f"{gigabytes(sum(parts.values()))}{where} ({listed}{bound})"


def sized_context(recipe: Recipe, device: torch.device, vocab_size: int) -> BuildContext:
    """What parts are told that are built without data: one process, and a vocabulary of this size."""
    context = first_context(recipe, Placement(device, 0, 1, 1), Path(recipe.trainer.output_dir))
    return evolve(context, vocab_size=vocab_size)


def largest_vocabulary(recipe: Recipe) -> int | None:
    """What bounds the vocabulary of a tokenizer that is yet to be trained."""
    bound: int | None = getattr(recipe.tokenizer.options, "vocab_size", None)
    return None if bound is None else padded_vocab_size(bound, recipe)


def _known_vocabulary(recipe: Recipe) -> int | None:
    """Rows of the embedding where the tokenizer's options know them without work; None where they do not."""
    ask = getattr(recipe.tokenizer.options, "known_vocab_size", None)
    tokens: int | None = ask() if ask is not None else None
    return None if tokens is None else padded_vocab_size(tokens, recipe)


def _measure(recipe: Recipe, context: BuildContext) -> Sizes:
    with torch.device("meta"):
        encoder = recipe.model.build(context)
        context = evolve(context, encoder=encoder)
        losses = nn.ModuleDict({name or "loss": view.loss.build(context) for name, view in recipe.views.items()})
    body = rows = 0
    for group in group_parameters(encoder, losses=losses):
        for parameter in group.parameters.values():
            # A table that is not indexed by the vocabulary (positions) belongs to the body; a bias of the head may be.
            if parameter.shape[:1] == (STAND_IN_VOCABULARY,):
                rows += parameter.numel()
            else:
                body += parameter.numel()
    return Sizes(body, rows // STAND_IN_VOCABULARY)


def _in_a_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".partition("\n")[0]
