"""Recipes: TOML to a frozen tree of parts, strictly, with every fault in one answer.

load_recipe("recipes/pretrain.toml", ["--trainer.max_steps", "2000"]).trainer.max_steps
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neobert.recipe.attention import attention_choices, check_device, compute_dtype
    from neobert.recipe.differences import Change, compare
    from neobert.recipe.loading import load_recipe
    from neobert.recipe.overrides import TABLES, is_override
    from neobert.recipe.show import render_check
    from neobert.recipe.tree import Recipe

__all__ = [
    "TABLES",
    "Change",
    "Recipe",
    "attention_choices",
    "check_device",
    "compare",
    "compute_dtype",
    "is_override",
    "load_recipe",
    "render_check",
]

_HOME = {
    "TABLES": "overrides",
    "Change": "differences",
    "Recipe": "tree",
    "attention_choices": "attention",
    "check_device": "attention",
    "compare": "differences",
    "compute_dtype": "attention",
    "is_override": "overrides",
    "load_recipe": "loading",
    "render_check": "show",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"neobert.recipe.{_HOME[name]}"), name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    return sorted(__all__)
