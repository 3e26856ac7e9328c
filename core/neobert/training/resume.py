"""Finding the checkpoint to go on from, and refusing one whose past the recipe would change."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from pathlib import Path

from attrs import evolve, frozen

from neobert.errors import UserError
from neobert.files import faults
from neobert.interfaces import Schedule
from neobert.recipe import Recipe, compare, load_recipe
from neobert.recipe.objectives import plain_key
from neobert.run_folder import CHECKPOINTS
from neobert.training.checkpoints import RECIPE_FILE, Progress, newest_intact, read_progress, step_directories
from neobert.training.command import RESUME_KEY, command
from neobert.training.past_ranks import changed_ranks, other_ranks
from neobert.training.past_warmups import changed_warmups
from neobert.training.run_directory import holds_run

PAST = ("model", "tokenizer", "dataset", "datacollator", "loss", "optimizer", "scheduler", "probability")
"""Tables whose values the weights, the order of the data or the optimizer's state came from, and an objective's key."""
PAST_TRAINER = (
    "seed",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "enforce_full_packed_batches",
    "gradient_clipping",
)
FREE = (
    "dataset.num_workers",
    "dataset.pin_memory",
    "dataset.persistent_workers",
    "dataset.prefetch_factor",
    "dataset.num_proc",
    "dataset.on_damaged_row",
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
        hint = "; did you mean `latest`?" if get_close_matches(str(wanted), ["latest"]) else ""
        msg = f"{RESUME_KEY} = {wanted!r}: no folder {path}{hint}\ncheckpoints in {parent}: {steps}"
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


def prepare_resumption(
    checkpoint: Path, recipe: Recipe, world_size: int = 1, is_finished: Callable[[int], bool] = lambda step: True
) -> Resumption:
    """Reads a checkpoint and compares its recipe with this one; a change of the past that is not allowed is refused.

    Another number of processes is none, as long as a step has as many micro-batches on all of them together. Refused is
    also what has nothing left to do: the last step, if ``is_finished`` says that the run came to its end there.
    """
    progress = read_progress(checkpoint)
    before = load_recipe(checkpoint / RECIPE_FILE)
    changes = [change for change in compare(before, recipe) if change.key != RESUME_KEY]
    past = {change.key: str(change) for change in changes if changes_past(change.key)}
    past |= changed_warmups(changes, before, recipe, progress.step)
    past = changed_ranks(past, (before, progress.world_size), (recipe, world_size), progress.step)
    refused = {key: line for key, line in past.items() if not _allowed(key, recipe)}
    if refused:
        diff = "\n".join(f"  {line}" for line in refused.values())
        msg = (
            f"{checkpoint} was made with another recipe, and these differences would change the past:\n{diff}\n"
            f"take them back, or say that they are meant: {_allowing(refused, recipe)}"
        )
        raise UserError(msg)
    _refuse_another_optimizer(checkpoint, before, recipe)
    last = recipe.trainer.max_steps
    if progress.step > last or (progress.step == last and is_finished(last)):
        msg = (
            f"{checkpoint} has done {progress.step} steps, and trainer.max_steps is {recipe.trainer.max_steps}: "
            "nothing is left to do\nraise trainer.max_steps to go on"
        )
        raise UserError(msg)
    notes = [f"changed since the checkpoint: {change}" for change in changes]
    if progress.world_size != world_size:
        notes.append(other_ranks(progress.world_size, world_size))
    return Resumption(checkpoint, progress, before, tuple(notes))


def changes_past(key: str) -> bool:
    """Whether another value of this key would have made another past."""
    key = plain_key(key)
    if any(key == free or key.startswith(f"{free}.") for free in FREE):
        return False
    table, _, rest = key.partition(".")
    return table in PAST or (table == "trainer" and rest in PAST_TRAINER)


def compare_schedules(old: Schedule, new: Schedule, resumption: Resumption, recipe: Recipe) -> None:
    """Refuses a schedule that differs from the old one at a step already done, with what its plugin says to do."""
    done = range(resumption.progress.step)
    step = next((step for step in done if old(step) != new(step)), None)
    if step is None or _allowed("scheduler", recipe):
        return
    lines = [
        f"the learning-rate schedule differs at step {step}, which is done: factor {old(step):.6g} then, "
        f"{new(step):.6g} now",
        *(_why(resumption, recipe) or ["(another scheduler option, or a schedule that depends on max_steps)"]),
        *_from_before(step, resumption),
        f"take the change back, or say that it is meant: {_allowing(['scheduler'], recipe)}",
    ]
    raise UserError("\n".join(lines))


def _why(resumption: Resumption, recipe: Recipe) -> list[str]:
    """What the scheduler's options say of the difference, where they are of one class and say anything."""
    before, now = resumption.recipe.scheduler.options, recipe.scheduler.options
    explain = getattr(now, "explain_change", None)
    if explain is None or type(before) is not type(now):
        return []
    max_steps = (resumption.recipe.trainer.max_steps, recipe.trainer.max_steps)
    return list(explain(before, resumption.progress.step, max_steps))


def _from_before(step: int, resumption: Resumption) -> list[str]:
    """The checkpoints of the same run that have done nothing that differs."""
    parent = resumption.checkpoint.parent
    steps = [str(done) for done in step_directories(parent) if done <= step]
    return [f"checkpoints in {parent} from before that: {', '.join(steps)}"] if steps else []


def check_same_data(progress: Progress, data: str, tokenizer: str, recipe: Recipe) -> None:
    """The data itself, not only its recipe, is what the checkpoint was trained on."""
    pairs = {
        "dataset": (progress.data_fingerprint, data),
        "tokenizer": (progress.tokenizer_fingerprint, tokenizer),
    }
    other = {what: pair for what, pair in pairs.items() if pair[0] != pair[1] and not _allowed(what, recipe)}
    if other:
        lines = (
            f"the {what} is not the one that the checkpoint was made with: its content differs "
            f"({before[:12]} then, {now[:12]} now), though the recipe may be the same"
            for what, (before, now) in other.items()
        )
        way = f"bring the old content back, or say that it is meant: {_allowing(other, recipe)}"
        raise UserError("\n".join((*lines, way)))


def is_own(checkpoint: Path, run_directory: Path) -> bool:
    """Whether a checkpoint is one of the run's own folder."""
    return checkpoint.parent.parent.resolve() == run_directory.resolve()


def recorded_recipe(recipe: Recipe, resumption: Resumption | None, run_directory: Path) -> Recipe:
    """The recipe to write down. Going on in a run's own folder is no part of what it does: only where it began is."""
    if resumption is not None and not is_own(resumption.checkpoint, run_directory):
        return recipe
    began = resumption.recipe.trainer.resume_from_checkpoint if resumption is not None else None
    origins = {key: where for key, where in recipe.explicit_origins.items() if key != RESUME_KEY}
    trainer = evolve(recipe.trainer, resume_from_checkpoint=began)
    return evolve(recipe, trainer=trainer, explicit_origins=origins)


def _refuse_another_optimizer(checkpoint: Path, before: Recipe, recipe: Recipe) -> None:
    """No permission makes one optimizer's moments those of another."""
    if before.optimizer.name != recipe.optimizer.name:
        changes = {RESUME_KEY: None, "model.weights": checkpoint, "trainer.output_dir": "runs/NAME"}
        msg = (
            f"{checkpoint} holds the state of optimizer {before.optimizer.name!r}, which {recipe.optimizer.name!r} "
            f"cannot go on with\nstart another run from its weights: {command(recipe, changes)}"
        )
        raise UserError(msg)


def _allowing(keys: Iterable[str], recipe: Recipe) -> str:
    """The override that allows these changes, beside those that are allowed already."""
    names = ", ".join(f'"{key}"' for key in dict.fromkeys((*recipe.trainer.allow_changes, *keys)))
    return f"--trainer.allow_changes '[{names}]'"


def _allowed(key: str, recipe: Recipe) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in recipe.trainer.allow_changes)
