"""Trackers that accelerate writes with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from accelerate import PartialState
from accelerate.tracking import GeneralTracker, TensorBoardTracker, WandBTracker
from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@frozen
class AccelerateTracker:
    """A started tracker of accelerate's under our two methods."""

    tracker: GeneralTracker

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Writes the metrics of a step; TensorBoard's file is flushed each time."""
        self.tracker.log(dict(metrics), step=step)

    def close(self) -> None:
        """Writes what is left and closes."""
        self.tracker.finish()


def open_tensorboard(run_directory: Path) -> AccelerateTracker:
    """Event files in ``run_directory/tensorboard``."""
    return _started(TensorBoardTracker("tensorboard", logging_dir=str(run_directory)))


def open_wandb(
    run_directory: Path, *, project: str, entity: str | None, run_name: str | None, mode: str
) -> AccelerateTracker:
    """A run of Weights & Biases with its files in ``run_directory``."""
    run_directory.mkdir(parents=True, exist_ok=True)
    name = run_name or run_directory.name
    return _started(WandBTracker(project, entity=entity, name=name, mode=mode, dir=str(run_directory)))


def _started(tracker: GeneralTracker) -> AccelerateTracker:
    # accelerate's trackers ask its process state which process writes; the run may not have made one yet.
    PartialState()
    tracker.start()
    return AccelerateTracker(tracker)
