"""``--diff A B``: how one recipe differs from another, or from the one that a checkpoint, an export or a run has."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from neobert.errors import UserError
from neobert.recipe import Recipe, compare, load_recipe
from neobert.recipe.shipped import recipe_path

if TYPE_CHECKING:
    from neobert.commands.arguments import Arguments

DIFFERENT = 1


def run(arguments: Arguments) -> int:
    """Prints a line for each key. Returns 0 where there is none, else 1."""
    first, second = (_recipe(said) for said in arguments.given["--diff"])
    changes = compare(first, second)
    for change in changes:
        print(change)
    if not changes:
        print("no difference")
    return DIFFERENT if changes else 0


def _recipe(said: str) -> Recipe:
    """Of a file, a shipped recipe's name, or a folder with a recipe.toml in it."""
    path = recipe_path(said)
    if path.is_dir():
        inside = path / "recipe.toml"
        if not inside.is_file():
            msg = f"{path} is a folder without a recipe.toml: expected a recipe, or the folder of a run or a checkpoint"
            raise UserError(msg)
        path = inside
    return load_recipe(Path(path))
