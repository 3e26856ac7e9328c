"""A save: the checkpoint first, then the export, then retention."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

from attrs import define, field

from neobert.abilities import takes_parts, writes
from neobert.data import StepBatches
from neobert.errors import UserError
from neobert.files import disk_errors
from neobert.recipe import Recipe
from neobert.recipe.trainer import TrainerOptions
from neobert.run_folder import CHECKPOINTS, saved_steps
from neobert.shards import on_host, whole_state
from neobert.training.assemble import Parts
from neobert.training.background import Background, TokenizerFiles
from neobert.training.best import Best, write_best
from neobert.training.checkpoints import Progress, newest_intact, prune, save_checkpoint
from neobert.training.command import command_to_go_on
from neobert.training.display import Display
from neobert.training.exporting import Exporter
from neobert.training.kept_batch import REPLAYS, KeptStep, keep_step
from neobert.training.loop import Position
from neobert.training.progress import progress_of
from neobert.training.ranks import Ranks
from neobert.training.run_directory import STEP_FOLDERS
from neobert.training.same_weights import refuse_other_weights

KEPT_STEPS = 10
"""Steps that went wrong whose data is kept, the newest ones."""


@define(kw_only=True)
class Saver:
    """Writes ``checkpoints/<step>`` and ``model_checkpoints/<step>``, and keeps the newest of each."""

    recipe: Recipe
    parts: Parts
    directory: Path
    display: Display
    on_saved: Callable[[int], None] = lambda _: None
    """Told of each step once its checkpoint is there."""
    exporter: Exporter = field(init=False)
    _background: Background = field(factory=Background, init=False)
    _step: int | None = field(default=None, init=False)
    """That is being saved in the background."""
    _said: list[str] = field(factory=list, init=False)
    """What there is to tell of retention: a person is told by the loop's thread."""
    _apart: Ranks | None = field(default=None, init=False)
    """How the threads that save talk to each other."""

    @exporter.default
    def _make_exporter(self) -> Exporter:
        return Exporter(self.recipe, self.parts, self.directory)

    def save(self, position: Position) -> None:
        """Saves everything at the position; with ``trainer.async_save`` from a copy, in the background: see `settle`.
        Raises UserError where the disk does not take it, or did not take what was saved before."""
        self.settle()
        if not self.directory.is_dir():
            # Making it again would write to what lies under a mount that is gone.
            msg = f"step {position.step} could not be saved: the run's folder {self.directory} is gone"
            raise UserError(msg)
        with self._told(position.step), disk_errors():
            self._save(position)

    def settle(self) -> None:
        """Waits for what is being saved in the background. Raises UserError where the disk does not take it."""
        step, self._step = self._step, None
        if step is not None:
            with self._told(step), disk_errors():
                self._background.settle()
            self._note_saved(step)

    def look(self) -> None:
        """`settle`, without waiting: for after each step."""
        if self._background.has_ended:
            self.settle()

    @contextmanager
    def settled(self) -> Iterator[None]:
        """What is being saved when an error ends this is saved to its end. A second signal waits for nothing."""
        try:
            yield
        except Exception:
            try:
                self.settle()
            except Exception as late:  # the first error is the one that is raised
                self.display.note(str(late))
            raise
        self.settle()

    def keep_step(self, data: StepBatches, position: Position, fault: str) -> Path | None:
        """Keeps the data of the step after the position for `--replay`; None where there is no checkpoint to run it
        from, or where the disk does not take it."""
        self.settle()
        steps = [step for step in saved_steps(self.directory) if step <= position.step]
        if not steps or self.parts.context.rank != 0:
            return None
        step = position.step + 1
        folder = self.directory / REPLAYS / str(step)
        kept = KeptStep(
            step=step, weights_step=steps[-1], fault=fault, micro_batches=data.micro_batches, objective=data.objective
        )
        try:
            with disk_errors():
                keep_step(folder, kept)
        except OSError as error:
            self.display.note(f"step {step}  its data could not be kept for --replay: {error}")
            return None
        prune(self.directory / REPLAYS, KEPT_STEPS)
        return folder

    def _save(self, position: Position) -> None:
        parts, trainer = self.parts, self.recipe.trainer
        refuse_other_weights(parts.ranks, parts.objective)
        state = parts.state.collect()
        progress = progress_of(parts, position, state)
        if not takes_parts(parts.checkpointer):
            state = whole_state(state, keep=writes(parts.checkpointer))
        if not trainer.async_save:
            self._write(progress, state, parts.tokenizer, parts.ranks)
            self.exporter.export(position)
            self._tidy(position.step, position.best)
            parts.ranks.wait()
            self._note_saved(position.step)
            return
        state = on_host(state) if writes(parts.checkpointer) else {}
        exported = Future[bool]()
        self._begin(progress, state, position.best, exported)
        try:
            self.exporter.export(position)
            exported.set_result(True)
        finally:
            if not exported.done():
                exported.set_result(False)

    def _begin(self, progress: Progress, state: dict[str, Any], best: Best | None, exported: Future[bool]) -> None:
        """The writing in the background; what is to go goes once the step's exports are there, too."""
        if self._apart is None:
            self._apart = self.parts.ranks.apart()
        ranks, tokenizer, progress = self._apart, TokenizerFiles.of(self.parts.tokenizer), deepcopy(progress)

        def work() -> None:
            self._write(progress, state, tokenizer, ranks)
            state.clear()
            if exported.result():
                self._tidy(progress.step, best)
            ranks.wait()

        self._step = progress.step
        self._background.begin(work, f"save step {progress.step}")

    def _write(self, progress: Progress, state: dict[str, Any], tokenizer: Any, ranks: Ranks) -> None:
        parent, recipe = self.directory / CHECKPOINTS, self.recipe.to_toml()
        save_checkpoint(parent, progress, state, self.parts.checkpointer, recipe, tokenizer, ranks)

    def _note_saved(self, step: int) -> None:
        for note in self._said:
            self.display.note(note)
        self._said.clear()
        self.display.note(f"step {step}  saved {self.directory / CHECKPOINTS / str(step)}")
        self.on_saved(step)

    def _tidy(self, step: int, best: Best | None) -> None:
        """Takes away what is to go, and names the best, on the first rank."""
        if self.parts.ranks.first:
            self._prune(step, best)
            write_best(self.directory, best, STEP_FOLDERS)

    def complete(self, position: Position) -> None:
        """Writes the exports of a checkpoint that is there, where the run was killed before it had them."""
        if self.parts.ranks.from_first(lambda: self.exporter.is_complete(position)):
            return
        with self._told(position.step), disk_errors():
            self.exporter.export(position)
        self.parts.ranks.wait()
        self.display.note(f"step {position.step}  exported, which the run was killed before it could do")

    def _prune(self, step: int, best: Best | None) -> None:
        trainer = self.recipe.trainer
        spare = (_goes_back_to(trainer, step), None if best is None else best.step)
        for kind in STEP_FOLDERS:
            self._said += prune(self.directory / kind, trainer.save_total_limit, spare)

    @contextmanager
    def _told(self, step: int) -> Iterator[None]:
        """What the disk refuses inside is told as the step's that could not be saved."""
        try:
            yield
        except OSError as error:
            raise UserError(self._not_saved(step, error)) from error

    def _not_saved(self, step: int, error: OSError) -> str:
        parent = self.directory / CHECKPOINTS
        newest, _ = newest_intact(parent)
        if newest is None:
            return f"step {step} could not be saved in {parent}: {error.strerror}; no checkpoint is there"
        return (
            f"step {step} could not be saved whole in {self.directory}: {error.strerror}\n"
            f"the newest checkpoint is {newest}. Mend that, then go on:  {command_to_go_on(self.recipe)}\n"
            f"or write its model elsewhere:  neobert-run --export {newest} FOLDER"
        )


def _goes_back_to(trainer: TrainerOptions, step: int) -> int | None:
    """The checkpoint that a rollback from here would go back to: a stop in between must not push it out."""
    if trainer.guard.action != "rollback" or trainer.save_steps is None:
        return None
    return step - step % trainer.save_steps
