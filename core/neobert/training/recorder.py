"""What happens between two steps: log, evaluate, save. The clock stands still meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import define, field
from torch import Tensor

from neobert.data import StepBatches
from neobert.errors import UserError
from neobert.interfaces import Tracker
from neobert.recipe.trainer import TrainerOptions
from neobert.training.assemble import Parts
from neobert.training.display import Display
from neobert.training.evaluating import Evaluator, candidates_of, evaluated
from neobert.training.meter import Clock
from neobert.training.step_metrics import data_metrics, faults_met, train_accuracy, warmup_metrics, weight_norms
from neobert.training.together import OtherRankError
from neobert.watching.watch import Watch

if TYPE_CHECKING:
    from neobert.training.loop import Position


@define(kw_only=True)
class Recorder:
    """Writes down how a run goes, as often as the recipe says."""

    trainer: TrainerOptions
    trackers: Sequence[Tracker]
    display: Display
    save: Callable[[Position], None]
    look: Callable[[], None] = lambda: None
    """Asked after each step: raises what went wrong with a save in the background."""
    watch: Watch = field(factory=Watch)
    keep_step: Callable[[StepBatches, Position, str], Path | None] = lambda *_: None
    """Keeps the data of the step that comes after the position, with what is wrong with it; returns where."""
    _clock: Clock = field(factory=Clock, init=False)
    _tokens_logged: int = field(default=0, init=False)
    _seconds_logged: float = field(default=0.0, init=False)
    _waited_logged: float = field(default=0.0, init=False)
    _first_step: int = field(default=0, init=False)
    _saved_step: int | None = field(default=None, init=False)
    _evaluator: Evaluator = field(init=False)

    @_evaluator.default
    def _evaluates(self) -> Evaluator:
        return Evaluator(trainer=self.trainer, display=self.display, send=self._send)

    def start(self, parts: Parts, position: Position) -> None:
        """The evaluation before the first step, and the clock."""
        losses = [view.own_objective.loss for view in parts.each.values()]
        if self.trainer.log_train_accuracy and not any(hasattr(loss, "logits") for loss in losses):
            self.display.note("trainer.log_train_accuracy: this loss has no vocabulary head, so no accuracy is logged")
        self.watch.begin(position.step, self.trainer.max_steps)
        among = candidates_of(parts, self.trainer)
        if position.step == 0 and evaluated(parts):
            with self.watch.doing("evaluating"):
                self._evaluator.evaluate(parts, position, "before", among)
        self._evaluator.require_metric(parts, position)
        self._tokens_logged = position.tokens_seen
        self._first_step = position.step
        self._clock = Clock()

    def next_step(self, steps: Iterator[StepBatches], position: Position) -> StepBatches:
        """The next step's data; the time that it takes counts as waiting. Where it fails, what was trained is saved."""
        try:
            with self._clock.wait():
                return next(steps)
        except Exception as error:
            if position.step == self._first_step:
                raise
            if self.has_unsaved(position):
                self.save_now(position)
            saved = f"the run got to step {position.step}, which is saved"
            if isinstance(error, OtherRankError):
                raise
            if not isinstance(error, UserError):
                error.add_note(saved)
                raise
            msg = f"{error}\n{saved}; once that is mended, go on with --trainer.resume_from_checkpoint latest"
            raise UserError(msg) from error

    @contextmanager
    def going_back(self, position: Position) -> Iterator[None]:
        """Inside, ``position`` becomes an earlier one. The next log line's rates begin after it."""
        position.between = True
        with self._clock.pause():
            yield
        position.between = False
        self._first_step, self._saved_step = position.step, None
        self._tokens_logged = position.tokens_seen
        self._seconds_logged, self._waited_logged = self._clock.seconds, self._clock.waited
        self.display.go_back(position.step)
        self.watch.begin(position.step, self.trainer.max_steps)

    @property
    def wait_share(self) -> float:
        """The share of this process's time, evaluating and saving left out, that the loop waited for data."""
        return self._clock.waited / max(self._clock.seconds, 1e-9)

    def after_step(self, parts: Parts, data: StepBatches, norm: Tensor | None, position: Position, done: bool) -> None:
        """Logs, evaluates and saves what is due; at the last step, everything.

        A run cut short only saves: its next log line must be the one that the unbroken run would have written.
        """
        trainer = self.trainer
        self.look()
        last = position.step >= trainer.max_steps or data.last
        if _due(position.step, trainer.logging_steps) or last:
            self._log(parts, data, norm, position)
        self.display.step(position.step)
        self.watch.step(position.step)
        improved = False
        if evaluated(parts) and (_due(position.step, trainer.eval_steps) or last):
            with self._clock.pause(), self.watch.doing("evaluating"):
                among = candidates_of(parts, trainer) if last else {}
                found = self._evaluator.evaluate(parts, position, "after", among)
                improved = self._evaluator.remember_best(found, position)
        if _due(position.step, trainer.save_steps) or done or improved:
            with self._clock.pause():
                self.save_now(position)

    def has_unsaved(self, position: Position) -> bool:
        """Whether this process has trained something that no checkpoint holds."""
        return position.step not in (self._first_step, self._saved_step)

    def save_unsaved(self, position: Position) -> None:
        """Saves, unless this process just has: a checkpoint is never taken away for another of the same step."""
        if position.step != self._saved_step:
            self.save_now(position)

    def save_now(self, position: Position) -> None:
        """Saves, whatever is due."""
        with self.watch.doing("saving"):
            self.save(position)
        self._saved_step = position.step

    def _log(self, parts: Parts, data: StepBatches, norm: Tensor | None, position: Position) -> None:
        seconds, self._seconds_logged = self._clock.seconds - self._seconds_logged, self._clock.seconds
        waited, self._waited_logged = self._clock.waited - self._waited_logged, self._clock.waited
        tokens, self._tokens_logged = position.tokens_seen - self._tokens_logged, position.tokens_seen
        means = position.meter.read(parts.ranks, reset=_due(position.step, self.trainer.logging_steps))
        metrics = {f"train/{name}": value for name, value in means.items()}
        metrics["train/learning_rate"] = float(parts.optimizer.param_groups[0]["lr"])
        metrics |= warmup_metrics(parts.each[data.objective].own_data.options, data)
        for name, view in parts.each.items():
            metrics |= data_metrics(name, view, position, data)
        metrics |= {f"train/{name}": float(count) for name, count in position.left_out.items()}
        metrics["train/tokens_seen"] = float(position.tokens_seen)
        metrics["train/tokens_per_second"] = tokens / max(seconds, 1e-9)
        metrics["train/data_wait_share"] = waited / max(seconds, 1e-9)
        if self.trainer.log_grad_norm and norm is not None:
            metrics["train/grad_norm"] = float(norm)
        metrics |= faults_met(position)
        if self.trainer.log_weight_norms:
            metrics |= weight_norms(parts)
        if self.trainer.log_train_accuracy:
            with self._clock.pause():
                metrics |= train_accuracy(parts.each[data.objective], data, self.trainer)
        self._send(metrics, position.step)
        self.watch.logged(metrics)
        self.display.log(metrics, position.step)

    def _send(self, metrics: dict[str, float], step: int) -> None:
        for tracker in self.trackers:
            tracker.log(metrics, step)


def _due(step: int, every: int | None) -> bool:
    return every is not None and step % every == 0
