"""Finding the checkpoint to go on from, and refusing one whose past the recipe would change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from attrs import frozen

from neobert.errors import UserError
from neobert.files import faults
from neobert.recipe import Recipe, compare, load_recipe
from neobert.training.checkpoints import RECIPE_FILE, Progress, newest_intact, read_progress, step_directories
from neobert.training.run_directory import CHECKPOINTS, holds_run

PAST = ("model", "tokenizer", "dataset", "datacollator", "loss", "optimizer", "scheduler")
"""Tables whose values the weights, the order of the data or the optimizer's state came from."""
PAST_TRAINER = (
    "seed",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "enforce_full_packed_batches",
    "gradient_clipping",
    "on_nonfinite_gradient",
)
FREE = (
    "dataset.num_workers",
    "dataset.pin_memory",
    "dataset.persistent_workers",
    "dataset.prefetch_factor",
    "dataset.num_proc",
    "model.attn_backend",
    "model.weights",
    "scheduler",
)
"""Keys of those tables that change no past: how fast data comes, how attention is computed. A schedule is compared
by its values at every step done, not by its keys."""


@frozen
class Resumption:
    """A verified checkpoint, and what there is to say about going on from it."""

    checkpoint: Path
    progress: Progress
    recipe: Recipe
    """The recipe that the checkpoint was made with."""
    notes: tuple[str, ...]


def find_checkpoint(recipe: Recipe, run_directory: Path) -> tuple[Path | None, list[str]]:
    """The folder that ``trainer.resume_from_checkpoint`` means, verified; None when there is nothing to go on from."""
    wanted = recipe.trainer.resume_from_checkpoint
    parent = run_directory / CHECKPOINTS
    if wanted is None:
        return None, []
    if wanted == "latest":
        return _latest(parent, run_directory)
    path = parent / str(wanted) if str(wanted).isdecimal() else Path(str(wanted))
    if not path.is_dir():
        steps = ", ".join(str(step) for step in step_directories(parent)) or "none"
        msg = f"trainer.resume_from_checkpoint = {wanted!r}: no folder {path}\ncheckpoints in {parent}: {steps}"
        raise UserError(msg)
    damage = faults(path)
    if damage:
        msg = f"{path} is damaged: {'; '.join(damage)}\nname another step, or `latest` for the newest intact one"
        raise UserError(msg)
    return path, []


def _latest(parent: Path, run_directory: Path) -> tuple[Path | None, list[str]]:
    path, damaged = newest_intact(parent)
    if path is None and damaged:
        lines = "\n".join(f"  {line}" for line in damaged)
        msg = f"no checkpoint of {run_directory} is intact:\n{lines}\nname another folder, or start a new run elsewhere"
        raise UserError(msg)
    if path is None:
        what = "holds a run without any checkpoint" if holds_run(run_directory) else "holds no run"
        return None, [f"resume_from_checkpoint = latest: {run_directory} {what}; starting at step 0"]
    return path, damaged


def prepare_resumption(checkpoint: Path, recipe: Recipe) -> Resumption:
    """Reads a checkpoint and compares its recipe with this one; a change of the past that is not allowed is refused."""
    progress = read_progress(checkpoint)
    before = load_recipe(checkpoint / RECIPE_FILE)
    changes = compare(before, recipe)
    refused = [c for c in changes if changes_past(c.key) and not _allowed(c.key, recipe)]
    if refused:
        diff = "\n".join(f"  {change}" for change in refused)
        keys = ", ".join(f'"{change.key}"' for change in refused)
        msg = (
            f"{checkpoint} was made with another recipe, and these differences would change the past:\n{diff}\n"
            f"take them back, or say that they are meant: --trainer.allow_changes '[{keys}]'"
        )
        raise UserError(msg)
    if progress.step >= recipe.trainer.max_steps:
        msg = (
            f"{checkpoint} has done {progress.step} steps, and trainer.max_steps is {recipe.trainer.max_steps}: "
            "nothing is left to do\nraise trainer.max_steps to go on"
        )
        raise UserError(msg)
    notes = [f"changed since the checkpoint: {change}" for change in changes]
    return Resumption(checkpoint, progress, before, tuple(notes))


def changes_past(key: str) -> bool:
    """Whether another value of this key would have made another past."""
    if any(key == free or key.startswith(f"{free}.") for free in FREE):
        return False
    table, _, rest = key.partition(".")
    return table in PAST or (table == "trainer" and rest in PAST_TRAINER)


def compare_schedules(old: Any, new: Any, steps_done: int, recipe: Recipe) -> None:
    """Refuses a schedule that differs from the old one at a step already done."""
    for step in range(steps_done):
        if old(step) != new(step) and not _allowed("scheduler", recipe):
            msg = (
                f"the learning-rate schedule differs at step {step}, which is done: factor {old(step):.6g} then, "
                f"{new(step):.6g} now (another scheduler option, or a schedule that depends on max_steps)\n"
                "take the change back, or say that it is meant: --trainer.allow_changes '[\"scheduler\"]'"
            )
            raise UserError(msg)


def check_same_data(progress: Progress, data: str, tokenizer: str, recipe: Recipe) -> None:
    """The data itself, not only its recipe, is what the checkpoint was trained on."""
    for what, before, now in (
        ("dataset", progress.data_fingerprint, data),
        ("tokenizer", progress.tokenizer_fingerprint, tokenizer),
    ):
        if before != now and not _allowed(what, recipe):
            msg = (
                f"the {what} is not the one that the checkpoint was made with: its content differs "
                f"({before[:12]} then, {now[:12]} now), though the recipe may be the same\n"
                f"bring the old one back, or say that it is meant: --trainer.allow_changes '[\"{what}\"]'"
            )
            raise UserError(msg)


def _allowed(key: str, recipe: Recipe) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in recipe.trainer.allow_changes)


