"""`neobert.run`: a recipe trained from Python, in a script or a notebook."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

from neobert import libraries
from neobert.api.overrides import Overrides, override_tokens
from neobert.api.result import Run
from neobert.recipe import load_recipe
from neobert.recipe.shipped import recipe_path

if TYPE_CHECKING:
    from rich.console import Console

INTERRUPTED = 128 + signal.SIGINT


class RunInterrupted(KeyboardInterrupt):
    """Ctrl-C came while a run trained: the step is finished and saved. ``run`` is what there is of it."""

    def __init__(self, run: Run) -> None:
        super().__init__(f"step {run.step} is saved; to go on: trainer.resume_from_checkpoint = 'latest'")
        self.run = run


def run(recipe: str | os.PathLike[str], overrides: Overrides | None = None, *, console: Console | None = None) -> Run:
    """Trains ``recipe``, a path or a shipped recipe's name, to its end, as ``neobert-run`` does; returns what it left.

    ``overrides``: dotted keys and their values, ``{"trainer.max_steps": 100}``; ``None`` unsets an optional key. Or
    words as on the command line. ``console``: where progress is shown (default: the terminal or the notebook;
    ``Console(quiet=True)`` shows nothing).

    Raises `RecipeError` with every fault of the recipe, `UserError` for what else a person can mend, and
    `RunInterrupted`, a KeyboardInterrupt, at Ctrl-C, once the step is saved. SIGTERM leaves Python with status 143. A
    thread that is not the main one gets no signals. What a run changes of the process (torch's threads and generators
    among it) is put back.
    """
    loaded = load_recipe(recipe_path(os.fspath(recipe)), override_tokens(overrides))
    libraries.import_libraries()

    from neobert.api.process import process_as_it_was
    from neobert.training.run import run as train

    with process_as_it_was():
        status = train(loaded, console)
    result = Run(loaded.trainer.output_dir, status)
    if status == INTERRUPTED:
        raise RunInterrupted(result)
    if status > 128:
        sys.exit(status)
    return result
