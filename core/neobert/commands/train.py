"""``neobert-run RECIPE``: trains."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from neobert import libraries
from neobert.errors import UserError
from neobert.recipe import load_recipe
from neobert.recipe.shipped import recipe_path

if TYPE_CHECKING:
    from neobert.commands.arguments import Arguments


def run(arguments: Arguments) -> int:
    """Loads the recipe, every mistake in it first, and only then what training needs."""
    with _one_answer_a_machine():
        recipe = load_recipe(recipe_path(arguments.path), arguments.overrides)
    libraries.import_libraries()

    from neobert.training.run import run as train

    return train(recipe)


@contextmanager
def _one_answer_a_machine() -> Iterator[None]:
    """Processes of one machine read the same files, and find the same mistakes before they know of each other."""
    try:
        yield
    except UserError:
        if os.environ.get("LOCAL_RANK", "0") != "0":
            sys.exit(2)
        raise
