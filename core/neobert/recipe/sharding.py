"""Whether a recipe's parts can have their tensors shared out among processes (``trainer.strategy = "fsdp"``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from neobert.recipe.nodes import dotted
from neobert.toml_text import toml_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from neobert.recipe.tree import Recipe
    from neobert.registry import Registry

HAVE_TO_SAY = ("optimizer",)
"""Kinds that are handed the parts themselves: what is written for whole tensors would compute something else."""


def sharding_checks(recipe: Recipe, registry: Registry) -> Iterator[tuple[str, str]]:
    """(key, what is wrong) of each part whose options class says ``shards = False``, and of an optimizer that does not
    say ``shards = True``."""
    if recipe.trainer.strategy != "fsdp":
        return
    for path, part in recipe.parts():
        if _shards(part.kind, part.options):
            continue
        able = [
            plugin.name
            for plugin in registry.plugins
            if plugin.kind == part.kind and plugin.problem() is None and _shards(part.kind, plugin.options_class)
        ]
        others = f", or one of: {', '.join(able)}" if able else ""
        yield (
            f"{dotted(path)}.name",
            f'does not go with trainer.strategy = "fsdp": {part.kind} {toml_text(part.name)} does not say '
            "(shards = True) that it works on tensors of which each process has a part\n"
            f'take trainer.strategy = "ddp"{others}',
        )


def _shards(kind: str, options: Any) -> bool:
    """Of options, or of their class."""
    return bool(getattr(options, "shards", kind not in HAVE_TO_SAY))
