"""``--schema``: a JSON schema of recipes, for editors."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from neobert.recipe.schema import recipe_schema
from neobert.registry import default_registry

if TYPE_CHECKING:
    from neobert.commands.arguments import Arguments


def run(arguments: Arguments) -> int:
    """Prints it, for the plugins that are installed."""
    print(json.dumps(recipe_schema(default_registry()), indent=2))
    return 0
