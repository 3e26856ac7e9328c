"""The weights that a run starts from (`model.weights`): what is wrong with them is told before data is prepared."""

from __future__ import annotations

import logging
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomli
import torch
from attrs import evolve
from torch import nn

from neobert.errors import UserError
from neobert.recipe import Recipe
from neobert.recipe.source import shown
from neobert.training.data_parts import first_context, padded_vocab_size, vocabulary_length
from neobert.training.devices import Placement
from neobert.training.objective import Objectives

if TYPE_CHECKING:
    from neobert.training.assemble import Parts
    from neobert.weights import Location

STAND_IN_VOCABULARY = 8191
"""A prime, so that no other table has as many rows. It costs nothing on the meta device."""


def start_from_weights(recipe: Recipe, parts: Parts) -> str | None:
    """Fills encoder and loss from ``model.weights``, if the recipe has it; returns a line about it."""
    if recipe.model.weights is None:
        return None
    from neobert.training.whole import fresh_objectives
    from neobert.weights import load_weights

    whole = fresh_objectives(recipe, parts, torch.device("cpu"))[0] if parts.is_sharded else parts.objective
    said = load_weights(
        recipe.model.weights,
        whole.encoder,
        whole.losses if isinstance(whole, Objectives) else whole.loss,
        num_tokens=vocabulary_length(parts.tokenizer),
        tokenizer=parts.tokenizer,
    )
    if parts.is_sharded:
        parts.state.take_weights(whole.state_dict())
    return said


def refuse_unfit_weights(recipe: Recipe) -> None:
    """Raises UserError where ``model.weights`` names nothing that can be read, or nothing that fits this recipe.

    Names and shapes are compared, and the vocabulary where the tokenizer is there without data. What needs a
    tokenizer that is yet to be trained is compared when the run starts from the weights.
    """
    if recipe.model.weights is None:
        return
    from neobert.weights import compare_vocabulary, find_weights

    path = Path(recipe.model.weights)
    try:
        location = find_weights(path)
    except UserError as error:
        raise UserError("\n".join((str(error), *_ways_to_make(path, recipe)))) from error
    tokenizer = known_tokenizer(recipe)
    if tokenizer is not None:
        compare_vocabulary(location, tokenizer)
    parts = _without_values(recipe, None if tokenizer is None else vocabulary_length(tokenizer))
    if parts is not None:
        _check(location, *parts, None if tokenizer is None else vocabulary_length(tokenizer))


def known_tokenizer(recipe: Recipe) -> Any | None:
    """The run's tokenizer where its options give it without data and without the network; else None."""
    ask = getattr(recipe.tokenizer.options, "known_tokenizer", None)
    return None if ask is None else ask()


def _without_values(recipe: Recipe, num_tokens: int | None) -> tuple[Any, Any] | None:
    """Encoder and loss, or losses, on the meta device; None for parts that need data, or tensors that hold values."""
    placement = Placement(torch.device("meta"), 0, 1, 1)
    context = first_context(recipe, placement, Path(recipe.trainer.output_dir))
    entries = STAND_IN_VOCABULARY if num_tokens is None else padded_vocab_size(num_tokens, recipe)
    context = evolve(context, vocab_size=entries)
    try:
        with torch.device("meta"):
            encoder = recipe.model.build(context)
            context = evolve(context, encoder=encoder)
            losses = {name: view.loss.build(context) for name, view in recipe.views.items()}
            return encoder, nn.ModuleDict(losses) if recipe.objectives else losses[""]
    except Exception:  # of a stranger's part; what is wrong with it is told when it is built for the run
        return None


def _check(location: Location, encoder: Any, loss: Any, num_tokens: int | None) -> None:
    from neobert.weights import check_weights

    try:
        check_weights(location, encoder, loss, num_tokens=num_tokens)
    except UserError:
        raise
    except Exception as error:  # an encoder's import_weights may look at values
        logging.getLogger("neobert.training").debug("weights are compared when they are loaded: %s", error)


def _ways_to_make(path: Path, recipe: Recipe) -> list[str]:
    """The recipes beside this one whose run is what ``path`` names, a line each."""
    wanted = path.absolute()
    lines = []
    for file in sorted(recipe.path.parent.glob("*.toml")):
        output = _output_dir(file)
        if output is not None and output.absolute() in (wanted, *wanted.parents):
            lines.append(
                f"{shown(file)} is the recipe of that run; run it first: neobert-run {shlex.quote(shown(file))}"
            )
    return lines


def _output_dir(file: Path) -> Path | None:
    """Where a recipe's run goes, as far as the file itself says; None for what is no recipe."""
    try:
        said = tomli.loads(file.read_text(encoding="utf-8"))
        return Path(said["trainer"]["output_dir"]).expanduser()
    except (OSError, ValueError, KeyError, TypeError, RuntimeError):
        return None
