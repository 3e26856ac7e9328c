"""``--fill``: the recipe with every key that it leaves out, at its default and with its help."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neobert.recipe import load_recipe
from neobert.recipe.shipped import recipe_path
from neobert.recipe.write import recipe_text

if TYPE_CHECKING:
    from neobert.commands.arguments import Arguments


def run(arguments: Arguments) -> int:
    """Prints TOML that loads to the same recipe."""
    recipe = load_recipe(recipe_path(arguments.path), arguments.overrides)
    print(recipe_text(recipe, with_help=True), end="")
    return 0
