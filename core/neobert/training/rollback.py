"""Going back to a checkpoint in the midst of a run, with other data from there on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import attrs
from attrs import define, frozen

from neobert.data import StepBatches
from neobert.files import faults, has_manifest
from neobert.interfaces import Tracker
from neobert.recipe import Recipe
from neobert.run_folder import CHECKPOINTS
from neobert.training.assemble import Parts, build_trackers, close_trackers
from neobert.training.checkpoints import read_progress, step_directories
from neobert.training.data_end import will_end_early
from neobert.training.display import Display
from neobert.training.loop import Position
from neobert.training.restore import load_state, position_at
from neobert.training.settling import settle_folder
from neobert.wording import counted


@frozen
class Target:
    """A checkpoint to go back to."""

    step: int
    path: Path


@define(kw_only=True)
class Rollback:
    """Does what stopping and resuming from an earlier checkpoint would do, but for the place in the data.

    Everything that a checkpoint holds goes back: weights, their average, optimizer, schedule, sums since the last log
    line, counts, and the guard's memory. The data goes on after the step that was at fault, so all that was trained on
    since the checkpoint is skipped, and the step with it: leaving out that step alone would end where skipping it does,
    in the same weights.

    Where it goes back to is a function of the step, so that a run which was stopped and resumed in between goes back to
    the same place: the newest intact checkpoint of ``trainer.save_steps``. Nothing is written: a run that is killed
    before its next checkpoint comes the same way again.
    """

    recipe: Recipe
    """As it is recorded: ``trainer.resume_from_checkpoint`` is where the run began, if in another folder's run."""
    parts: Parts
    directory: Path
    display: Display
    trackers: list[Tracker]
    """Closed and opened again, as a resumed run's are."""
    settle: Callable[[], None]
    """Waits for the checkpoint that is being written."""

    def target(self, step: int) -> Target | None:
        """The newest intact checkpoint of ``trainer.save_steps`` up to ``step``; damaged ones are named.

        The first rank looks, and tells the others.
        """
        self.settle()
        found = self.parts.ranks.from_first(lambda: self._newest(step))
        return None if found is None else Target(int(found[0]), Path(found[1]))

    def _newest(self, step: int) -> tuple[int, str] | None:
        every = self.recipe.trainer.save_steps
        for number, path in sorted(self._checkpoints().items(), reverse=True):
            if every is None or number % every or not 0 < number <= step:
                continue
            damage = faults(path)
            if not damage:
                return number, str(path)
            self.display.note(f"{path} is damaged and is passed over: {'; '.join(damage)}")
        return None

    def go_back(self, target: Target, reason: str, data: StepBatches, position: Position) -> None:
        """Makes ``position`` that of the checkpoint, with the cursor after ``data``."""
        at, skipped = position.step + 1, position.step + 1 - target.step
        progress = read_progress(target.path)
        load_state(self.parts, target.path, progress)
        back = position_at(progress, data.cursor, self.parts)
        # What was read stays read, and what happened stays on record.
        back.left_out = position.left_out
        back.left_out.update(data.left_out)
        back.guard.rollbacks = [*position.guard.rollbacks, {"step": at, "to": target.step, "reason": reason}]
        for attribute in attrs.fields(Position):
            setattr(position, attribute.name, getattr(back, attribute.name))
        self.display.note(
            f"step {at}  {reason}: going back to step {target.step}, and on with the data after this; that of "
            f"{counted(skipped, 'step')} is skipped"
        )
        self._begin_again(position)

    def _begin_again(self, position: Position) -> None:
        """As a resumed run does: nothing newer stays, and data and trackers are opened anew."""
        self.parts.training_data.close()
        close_trackers(self.trackers)
        for said in settle_folder(self.parts.ranks, self.recipe.trainer, self.directory, position):
            self.display.note(said)
        self.trackers.extend(build_trackers(self.recipe, self.parts.context))
        max_steps = self.recipe.trainer.max_steps
        for line in will_end_early(self.parts, position.cursor, position.step, max_steps):
            self.display.note(line)

    def _checkpoints(self) -> dict[int, Path]:
        """Step -> folder: this run's own, and those up to where it began, which lie in another's folder."""
        own = step_directories(self.directory / CHECKPOINTS)
        began = self.recipe.trainer.resume_from_checkpoint
        if began is None or not has_manifest(origin := Path(str(began))):
            return own
        step = read_progress(origin).step
        before = {number: path for number, path in step_directories(origin.parent).items() if number < step}
        return {**before, step: origin, **own}
