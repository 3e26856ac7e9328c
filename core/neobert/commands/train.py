"""``neobert-run RECIPE``: trains."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from neobert import libraries
from neobert.recipe import load_recipe

if TYPE_CHECKING:
    from neobert.commands.arguments import Arguments


def run(arguments: Arguments) -> int:
    """Loads the recipe, every mistake in it first, and only then what training needs."""
    recipe = load_recipe(Path(arguments.path), arguments.overrides)
    libraries.import_libraries()

    from neobert.training.run import run as train

    return train(recipe)
