"""What is done about a step that the guard found at fault: stop, skip it, or go back, as the recipe says."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from attrs import frozen

from neobert.data import StepBatches
from neobert.errors import UserError
from neobert.recipe.trainer import TrainerOptions
from neobert.training.recorder import Recorder

if TYPE_CHECKING:
    from neobert.training.loop import Position
    from neobert.training.rollback import Rollback

GO_ON = "--trainer.resume_from_checkpoint latest"
OLDER = "go on from an older checkpoint (--trainer.resume_from_checkpoint STEP)"


@frozen(kw_only=True)
class Faults:
    """Meets faulty steps. Weights and optimizer are as the step before left them."""

    trainer: TrainerOptions
    recorder: Recorder
    rollback: Rollback | None
    """How the run goes back; None where there is nothing to go back to."""

    def meet(self, fault: str, data: StepBatches, position: Position) -> bool:
        """True where the run went back, and ``position`` is another now; False where this step counts as taken, without
        an update.

        Raises UserError, with the position saved, where the recipe says stop, or where this is too often in a row.
        """
        action = self.trainer.guard.action
        if action == "stop":
            self._stop(
                position,
                data,
                fault,
                f"{fault}; the weights are as step {position.step} left them, and saved",
                f"{self._gentler()} in a new run, or go on past such steps with",
                f"{GO_ON} --trainer.guard.action skip",
            )
        if action == "rollback" and self._went_back(fault, data, position):
            return True
        self._skip(fault, data, position)
        return False

    def _gentler(self) -> str:
        """What makes for smaller updates, of a recipe with these settings."""
        clipping = self.trainer.gradient_clipping
        return f"lower optimizer.lr or {'set ' if clipping is None else ''}trainer.gradient_clipping"

    def _skip(self, fault: str, data: StepBatches, position: Position) -> None:
        guard, most = position.guard, self.trainer.guard.in_a_row
        if guard.in_a_row >= most:
            self._stop(
                position,
                data,
                fault,
                f"{fault}; the {most} steps before it were skipped for faults of their own (trainer.guard.limit)",
                "data is hardly to blame then, but the weights: they are as step "
                f"{position.step - most} left them, saved as step {position.step}",
                f"{OLDER}, {self._gentler()} in a new run, or go past more such steps: "
                f"{GO_ON} --trainer.guard.limit {2 * most}",
            )
        self.recorder.keep_step(data, position, fault)
        guard.in_a_row += 1
        guard.skipped.append(position.step + 1)
        self.recorder.watch.happened("skipped", position.step + 1, reason=fault)
        self._note(position, f"skipped: {fault}")

    def _went_back(self, fault: str, data: StepBatches, position: Position) -> bool:
        """False, with a line that says why, where there is nothing to go back to, or no data to go on with."""
        target = None if self.rollback is None else self.rollback.target(position.step)
        if self.rollback is None or target is None:
            self._note(position, "cannot go back: there is no intact checkpoint of trainer.save_steps yet")
            return False
        if data.last:
            self._note(position, "does not go back: there is no data after it to go on with")
            return False
        times = position.guard.times_back_to(target.step)
        if times >= self.trainer.guard.in_a_row:
            self._stop(
                position,
                data,
                fault,
                f"{fault}; the run has gone back to step {target.step} {times} times already (trainer.guard.limit)",
                f"the weights are as step {position.step} left them, and saved",
                f"{OLDER}, {self._gentler()} in a new run, or try more data: {GO_ON} --trainer.guard.limit {2 * times}",
            )
        self.recorder.keep_step(data, position, fault)
        self.recorder.watch.happened("went back", position.step + 1, to=target.step, reason=fault)
        with self.recorder.going_back(position):
            self.rollback.go_back(target, fault, data, position)
        return True

    def _note(self, position: Position, text: str) -> None:
        self.recorder.display.note(f"step {position.step + 1}  {text}")

    def _stop(self, position: Position, data: StepBatches, fault: str, said: str, *more: str) -> NoReturn:
        self.recorder.save_unsaved(position)
        folder = self.recorder.keep_step(data, position, fault)
        again = () if folder is None else (f"to run the step again and see where:  neobert-run --replay {folder}",)
        raise UserError("\n".join((f"step {position.step + 1}: {said}", *more, *again)))
