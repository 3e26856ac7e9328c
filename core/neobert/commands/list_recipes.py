"""``--list-recipes``: the recipes that come with the tool."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neobert.errors import UserError
from neobert.recipe.shipped import about, shipped_recipes

if TYPE_CHECKING:
    from neobert.commands.arguments import Arguments


def run(arguments: Arguments) -> int:
    """Prints a name and what it is for, a line each."""
    recipes = shipped_recipes()
    if not recipes:
        msg = "this installation has no recipes with it"
        raise UserError(msg)
    width = max(map(len, recipes))
    for name, file in recipes.items():
        print(f"{name:{width}}  {about(file)}")
    return 0
