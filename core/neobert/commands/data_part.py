"""What the commands that look at data build of a run: its data, and no model."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from neobert.commands.arguments import Arguments
    from neobert.recipe import Recipe
    from neobert.training.data_parts import DataParts


@contextmanager
def data_part(arguments: Arguments) -> Iterator[tuple[Recipe, DataParts]]:
    """The recipe and its data, as a run would build them. Notes go to stderr; nothing is written but the cache."""
    from rich.console import Console

    from neobert.recipe import load_recipe
    from neobert.recipe.shipped import recipe_path

    recipe = load_recipe(recipe_path(arguments.path), arguments.overrides)

    from neobert.training.data_parts import build_data_parts
    from neobert.training.devices import place
    from neobert.training.display import Display, notes_of_parts

    with notes_of_parts(Display(Console(file=sys.stderr, highlight=False))):
        data = build_data_parts(recipe, place(recipe.trainer), Path(recipe.trainer.output_dir))
        try:
            yield recipe, data
        finally:
            data.training_data.close()
