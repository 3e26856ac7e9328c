"""``--check``: what a recipe means and costs, before any work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neobert.recipe import load_recipe, render_check
from neobert.recipe.shipped import recipe_path

if TYPE_CHECKING:
    from neobert.commands.arguments import Arguments


def run(arguments: Arguments) -> int:
    """Prints the resolved recipe, its parts and its costs; every mistake in it raises `RecipeError`."""
    recipe = load_recipe(recipe_path(arguments.path), arguments.overrides)

    from neobert.training.inspect import describe

    costs = describe(recipe)
    width = max((len(what) for what, _ in costs), default=0)
    print(render_check(recipe))
    print()
    for what, how_much in costs:
        print(f"{what:{width}}  {how_much}")
    return 0
