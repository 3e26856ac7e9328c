"""A model whose weights are whole, for what one process does alone, where each process has a part of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from attrs import evolve

from neobert.recipe import Recipe
from neobert.shards import whole_state
from neobert.training.assemble import Parts, build_objectives

if TYPE_CHECKING:
    from neobert.context import BuildContext
    from neobert.training.objective import Objective, Objectives


def whole_parts(recipe: Recipe, parts: Parts) -> Parts:
    """The same parts with all weights on the first rank, on the run's device; on the others, and where every process
    has all weights, ``parts`` as they are. Every rank has to call it.

    It is a copy, neither compiled nor trained: the run goes on with its own.
    """
    if not parts.is_sharded:
        return parts
    weights = whole_state(parts.objective.state_dict(), keep=parts.ranks.first)
    if not parts.ranks.first:
        return parts
    objective, own, context = fresh_objectives(recipe, parts, parts.device)
    objective.load_state_dict(weights, strict=True)
    whole = evolve(parts, objective=objective, context=context, objectives={})
    views = {
        name: evolve(view, objective=own[name], context=evolve(view.context, encoder=context.encoder))
        for name, view in parts.objectives.items()
    }
    return evolve(whole, objectives=views)


def fresh_objectives(
    recipe: Recipe, parts: Parts, device: torch.device
) -> tuple[Objective | Objectives, dict[str, Objective], BuildContext]:
    """Encoder and losses as the run began with them, whole, beside the run's own; see `build_objectives`."""
    plain = evolve(recipe.trainer, torch_compile=False, gradient_checkpointing=False)
    contexts = {name: evolve(view.context, device=device) for name, view in parts.each.items()}
    return build_objectives(evolve(recipe, trainer=plain), contexts)
