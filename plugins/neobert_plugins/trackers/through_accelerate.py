"""Trackers that accelerate writes with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from accelerate import PartialState
from accelerate.tracking import GeneralTracker, TensorBoardTracker, TrackioTracker, WandBTracker
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
    return started(TensorBoardTracker("tensorboard", logging_dir=str(run_directory)))


def open_wandb(
    run_directory: Path, *, project: str, entity: str | None, run_name: str | None, mode: str
) -> AccelerateTracker:
    """A run of Weights & Biases with its files in ``run_directory``."""
    run_directory.mkdir(parents=True, exist_ok=True)
    name = run_name or run_directory.name
    return started(WandBTracker(project, entity=entity, name=name, mode=mode, dir=str(run_directory)))


def open_trackio(run_directory: Path, *, project: str, run_name: str | None, space_id: str | None) -> AccelerateTracker:
    """A run of Trackio. It gets our metrics alone, and nothing of the machine."""
    return started(
        TrackioTracker(
            project,
            name=run_name or run_directory.name,
            space_id=space_id,
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )
    )


def started(tracker: GeneralTracker) -> AccelerateTracker:
    """The tracker, started: it writes from now on."""
    # accelerate's trackers ask its process state which process writes; the run may not have made one yet.
    PartialState()
    tracker.start()
    return AccelerateTracker(tracker)
