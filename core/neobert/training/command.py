"""The command that runs a recipe again, for messages that say how to go on."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from neobert.recipe import Recipe
from neobert.recipe.nodes import dotted
from neobert.recipe.overrides import read_overrides

RESUME_KEY = "trainer.resume_from_checkpoint"


def command(recipe: Recipe, changes: Mapping[str, object]) -> str:
    """``neobert-run`` with the recipe's path and overrides.

    ``changes``, by dotted key, replace or join the overrides; one of None takes an override away.
    """
    said: dict[str, object] = {dotted(override.path): override.raw for override in read_overrides(recipe.overrides, [])}
    words = ["neobert-run", str(recipe.path)]
    for key, value in {**said, **changes}.items():
        if value is not None:
            # A value that looks like a flag has to be joined to its own.
            words += [f"--{key}={value}"] if str(value).startswith("--") else [f"--{key}", str(value)]
    return shlex.join(words)


def command_to_go_on(recipe: Recipe) -> str:
    """The command that resumes a run in its own folder."""
    return command(recipe, {RESUME_KEY: "latest"})
