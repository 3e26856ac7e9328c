"""The run's folder made ready for a position: nothing newer in it, and its best step known."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from neobert.recipe.trainer import TrainerOptions
from neobert.training.best import settle_best
from neobert.training.evaluation_names import BEST
from neobert.training.ranks import Ranks
from neobert.training.run_directory import STEP_FOLDERS, supersede

if TYPE_CHECKING:
    from neobert.training.loop import Position


def settle_folder(ranks: Ranks, trainer: TrainerOptions, directory: Path, position: Position) -> list[str]:
    """Moves what is newer out of the way, and settles which step is the best; what there is to say of either.

    The first rank does it; the others' positions follow.
    """
    said, is_forgotten = ranks.from_first(lambda: _settle(trainer, directory, position))
    if is_forgotten:
        position.best = None
        position.evaluations.pop(BEST, None)
    return list(said)


def _settle(trainer: TrainerOptions, directory: Path, position: Position) -> tuple[list[str], bool]:
    had = position.best is not None
    # Of a run that begins anew nothing stays, not even what it said before its first step.
    said = [supersede(directory, position.step or -1), settle_best(trainer, directory, position, STEP_FOLDERS)]
    return [line for line in said if line is not None], had and position.best is None
