"""``--copy-recipe NAME FILE``: a shipped recipe of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from neobert.files import disk_errors
from neobert.recipe.shipped import copy_recipe

if TYPE_CHECKING:
    from neobert.commands.arguments import Arguments


def run(arguments: Arguments) -> int:
    """Writes it, and what it extends beside it; says what was written."""
    name, target = arguments.given["--copy-recipe"]
    with disk_errors():
        written = copy_recipe(name, Path(target))
    for file in written:
        print(f"wrote {file}")
    if not written:
        print(f"{target} is there already, and the same")
    return 0
