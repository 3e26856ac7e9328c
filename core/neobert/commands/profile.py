"""``--profile STEPS``: where a step's time goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neobert import libraries
from neobert.errors import UserError
from neobert.recipe import load_recipe
from neobert.recipe.shipped import recipe_path

if TYPE_CHECKING:
    from neobert.commands.arguments import Arguments


def run(arguments: Arguments) -> int:
    """Trains a few steps as the recipe says, saves nothing of them, and prints tables beside a trace."""
    value = str(arguments.value("--profile"))
    if not value.isdecimal() or int(value) < 1:
        msg = f"--profile {value}: expected how many steps, 1 or more"
        raise UserError(msg)
    recipe = load_recipe(recipe_path(arguments.path), arguments.overrides)
    libraries.import_libraries()

    from rich.console import Console

    from neobert.training.profile import profile
    from neobert.training.profile_tables import show_profile

    console = Console(highlight=False)
    show_profile(profile(recipe, int(value), console), console)
    return 0
