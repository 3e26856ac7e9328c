"""``--preprocess``: tokenizes ahead of time, and prints the tables to use elsewhere."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from neobert.recipe import load_recipe
from neobert.recipe.shipped import recipe_path

if TYPE_CHECKING:
    from neobert.commands.arguments import Arguments


def run(arguments: Arguments) -> int:
    """Notes go to stderr, the tables to stdout."""
    recipe = load_recipe(recipe_path(arguments.path), arguments.overrides)
    output = Path(arguments.value("--output") or f"{recipe.trainer.output_dir}-data")

    from rich.console import Console

    from neobert.training.display import Display, notes_of_parts
    from neobert.training.preprocess import preprocess

    display = Display(Console(file=sys.stderr, highlight=False))
    with notes_of_parts(display):
        done = preprocess(recipe, output)
        for note in done.notes:
            display.note(note)
    if done.tables is not None:
        print(done.tables, end="")
    return 0
