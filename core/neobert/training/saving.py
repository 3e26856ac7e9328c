"""A save: the checkpoint first, then the export, then retention."""

from __future__ import annotations

from pathlib import Path

import torch
from attrs import define, field

from neobert.data import Place, StepBatches
from neobert.data.sharing import join_places
from neobert.errors import UserError
from neobert.export import export_model
from neobert.export.provenance import Origin
from neobert.files import disk_errors, has_manifest, remove_folder
from neobert.recipe import Recipe
from neobert.recipe.trainer import TrainerOptions
from neobert.run_folder import AVERAGED_EXPORTS, CHECKPOINTS, EXPORTS, saved_steps
from neobert.training.assemble import Parts
from neobert.training.best import write_best
from neobert.training.checkpoints import Progress, newest_intact, prune, save_checkpoint
from neobert.training.command import command_to_go_on
from neobert.training.display import Display
from neobert.training.kept_batch import REPLAYS, KeptStep, keep_step
from neobert.training.loop import Position
from neobert.training.run_directory import STEP_FOLDERS
from neobert.training.same_weights import refuse_other_weights
from neobert.training.state import layout_of

KEPT_STEPS = 10
"""Steps that went wrong whose data is kept, the newest ones."""


@define(kw_only=True)
class Saver:
    """Writes ``checkpoints/<step>`` and ``model_checkpoints/<step>``, and keeps the newest of each."""

    recipe: Recipe
    parts: Parts
    directory: Path
    display: Display
    notes: list[str] = field(factory=list)
    """What the newest export had to say, for the summary."""

    def save(self, position: Position) -> None:
        """Saves everything at the position. Raises UserError where the disk does not take it."""
        if not self.directory.is_dir():
            # Making it again would write to what lies under a mount that is gone.
            msg = f"step {position.step} could not be saved: the run's folder {self.directory} is gone"
            raise UserError(msg)
        try:
            with disk_errors():
                self._save(position)
        except OSError as error:
            raise UserError(self._not_saved(position, error)) from error

    def keep_step(self, data: StepBatches, position: Position, fault: str) -> Path | None:
        """Keeps the data of the step after the position for `--replay`; None where there is no checkpoint to run it
        from, or where the disk does not take it."""
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
        parts, step = self.parts, position.step
        refuse_other_weights(parts.ranks, parts.objective)
        state = parts.state.collect()
        save_checkpoint(
            self.directory / CHECKPOINTS,
            self._progress(position, state),
            state,
            parts.checkpointer,
            self.recipe.to_toml(),
            parts.tokenizer,
            parts.ranks,
        )
        if parts.ranks.first:
            self._publish(position)
        parts.ranks.wait()
        self.display.note(f"step {step}  saved {self.directory / CHECKPOINTS / str(step)}")

    def _publish(self, position: Position) -> None:
        """What there is besides the checkpoint: the exports; and nothing that is to go."""
        self._export_all(position)
        self._prune(position)
        write_best(self.directory, position.best, STEP_FOLDERS)

    def complete(self, position: Position) -> None:
        """Writes the exports of a checkpoint that is there, where the run was killed before it had them."""
        if self.parts.ranks.first:
            self._complete(position)
        self.parts.ranks.wait()

    def _complete(self, position: Position) -> None:
        kinds = (EXPORTS, *((AVERAGED_EXPORTS,) if self.parts.average is not None else ()))
        if all(has_manifest(self.directory / kind / str(position.step)) for kind in kinds):
            return
        try:
            with disk_errors():
                self._export_all(position)
        except OSError as error:
            raise UserError(self._not_saved(position, error)) from error
        self.display.note(f"step {position.step}  exported, which the run was killed before it could do")

    def _export_all(self, position: Position) -> None:
        self.notes = list(self._export(EXPORTS, position))
        if self.parts.average is not None:
            with self.parts.average.in_place():
                self._export(AVERAGED_EXPORTS, position)

    def _export(self, kind: str, position: Position) -> tuple[str, ...]:
        folder = self.directory / kind / str(position.step)
        if folder.exists():  # of the same step: a run that stops where it has just saved
            remove_folder(folder)
        losses = {name: view.own_objective.loss for name, view in self.parts.each.items()}
        origin = Origin(
            step=position.step,
            tokens_seen=position.tokens_seen,
            data_fingerprint=self.parts.training_data.fingerprint,
            tokenizer_fingerprint=self.parts.tokenizer_fingerprint,
            averaged=kind == AVERAGED_EXPORTS,
            evaluations=position.evaluations,
        )
        return export_model(folder, self.parts.objective.encoder, losses, self.recipe, self.parts.context, origin)

    def _prune(self, position: Position) -> None:
        trainer, best = self.recipe.trainer, position.best
        spare = (_goes_back_to(trainer, position.step), None if best is None else best.step)
        for kind in STEP_FOLDERS:
            for note in prune(self.directory / kind, trainer.save_total_limit, spare):
                self.display.note(note)

    def _not_saved(self, position: Position, error: OSError) -> str:
        parent = self.directory / CHECKPOINTS
        newest, _ = newest_intact(parent)
        if newest is None:
            return f"step {position.step} could not be saved in {parent}: {error.strerror}; no checkpoint is there"
        return (
            f"step {position.step} could not be saved whole in {self.directory}: {error.strerror}\n"
            f"the newest checkpoint is {newest}. Mend that, then go on:  {command_to_go_on(self.recipe)}\n"
            f"or write its model elsewhere:  neobert-run --export {newest} FOLDER"
        )

    def _cursor(self, position: Position) -> Place:
        """The place in the data of all ranks."""
        cursors = self.parts.ranks.gather(position.cursor.to_json())
        return join_places([self.parts.training_data.place(cursor) for cursor in cursors])

    def _labels(self) -> dict[str, tuple[str, ...]]:
        found = {name: own.context.labels for name, own in self.parts.each.items()}
        return {name: labels.names for name, labels in found.items() if labels is not None}

    def _progress(self, position: Position, state: dict[str, object]) -> Progress:
        return Progress(
            step=position.step,
            cursor=self._cursor(position).to_json(),
            tokens_seen=position.tokens_seen,
            meter=position.meter.state(self.parts.ranks),
            evaluations=position.evaluations,
            source_tokens=position.source_tokens,
            objective_steps=position.objective_steps,
            left_out=position.left_out,
            guard=position.guard.to_json(),
            position_losses={when: losses.to_json() for when, losses in position.position_losses.items()},
            best=None if position.best is None else position.best.to_json(),
            labels=self._labels(),
            optimizer_layout=layout_of(state),
            data_fingerprint=self.parts.training_data.fingerprint,
            tokenizer_fingerprint=self.parts.tokenizer_fingerprint,
            num_threads=torch.get_num_threads(),
            world_size=self.parts.context.world_size,
        )


def _goes_back_to(trainer: TrainerOptions, step: int) -> int | None:
    """The checkpoint that a rollback from here would go back to: a stop in between must not push it out."""
    if trainer.guard.action != "rollback" or trainer.save_steps is None:
        return None
    return step - step % trainer.save_steps
