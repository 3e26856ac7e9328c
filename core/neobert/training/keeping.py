"""Keeping the data of steps that went wrong, the newest ones."""

from __future__ import annotations

from pathlib import Path

from neobert.data import StepBatches
from neobert.files import disk_errors
from neobert.run_folder import saved_steps
from neobert.training.checkpoints import prune
from neobert.training.display import Display
from neobert.training.kept_batch import REPLAYS, KeptStep, keep_step

KEPT_STEPS = 10


def keep_for_replay(run: Path, data: StepBatches, done: int, fault: str, display: Display) -> Path | None:
    """Keeps the data of the step after the ``done`` ones, and returns where; None where there is no checkpoint to run
    it from, or where the disk does not take it."""
    steps = [step for step in saved_steps(run) if step <= done]
    if not steps:
        return None
    folder = run / REPLAYS / str(done + 1)
    kept = KeptStep(
        step=done + 1, weights_step=steps[-1], fault=fault, micro_batches=data.micro_batches, objective=data.objective
    )
    try:
        with disk_errors():
            keep_step(folder, kept)
    except OSError as error:
        display.note(f"step {done + 1}  its data could not be kept for --replay: {error}")
        return None
    prune(run / REPLAYS, KEPT_STEPS)
    return folder
