"""What happens between two steps: log, evaluate, save. The clock stands still meanwhile."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import define, field
from torch import Tensor

from neobert.abilities import makes_embeddings
from neobert.data import Cursor, StepBatches, own_cursor
from neobert.data.lanes import marks_of
from neobert.data.report import SourceReport
from neobert.data.step_options import StepOptions
from neobert.errors import UserError
from neobert.interfaces import Tracker
from neobert.objective_names import named, own, prefix_of
from neobert.recipe.trainer import TrainerOptions
from neobert.training.assemble import Parts
from neobert.training.best import KEY, improvement, require_metric
from neobert.training.display import Display
from neobert.training.evaluate import evaluate, guess_accuracy
from neobert.training.evaluation_names import AMONG_ALL, AVERAGED, BEST
from neobert.training.meter import Clock
from neobert.training.positions import PositionMeter
from neobert.training.ranks import Ranks
from neobert.training.together import OtherRankError
from neobert.training.trained_candidates import TrainedCandidates
from neobert.watching.watch import Watch
from neobert.wording import counted

if TYPE_CHECKING:
    from neobert.training.loop import Position


@define(kw_only=True)
class Recorder:
    """Writes down how a run goes, as often as the recipe says."""

    trainer: TrainerOptions
    trackers: Sequence[Tracker]
    display: Display
    save: Callable[[Position], None]
    watch: Watch = field(factory=Watch)
    keep_step: Callable[[StepBatches, Position, str], Path | None] = lambda *_: None
    """Keeps the data of the step that comes after the position, with what is wrong with it; returns where."""
    _clock: Clock = field(factory=Clock, init=False)
    _tokens_logged: int = field(default=0, init=False)
    _seconds_logged: float = field(default=0.0, init=False)
    _waited_logged: float = field(default=0.0, init=False)
    _first_step: int = field(default=0, init=False)
    _saved_step: int | None = field(default=None, init=False)
    _missed: set[str | None] = field(factory=set, init=False)
    """Why there is no loss by position: said once."""

    def start(self, parts: Parts, position: Position) -> None:
        """The evaluation before the first step, and the clock."""
        losses = [view.own_objective.loss for view in parts.each.values()]
        if self.trainer.log_train_accuracy and not any(hasattr(loss, "logits") for loss in losses):
            self.display.note("trainer.log_train_accuracy: this loss has no vocabulary head, so no accuracy is logged")
        self.watch.begin(position.step, self.trainer.max_steps)
        among = _candidates(parts, self.trainer)
        if position.step == 0 and _evaluated(parts):
            with self.watch.doing("evaluating"):
                self._evaluate(parts, position, "before", among)
        self._require_metric(parts, position)
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
        last = position.step >= trainer.max_steps or data.last
        if _due(position.step, trainer.logging_steps) or last:
            self._log(parts, data, norm, position)
        self.display.step(position.step)
        self.watch.step(position.step)
        improved = False
        if _evaluated(parts) and (_due(position.step, trainer.eval_steps) or last):
            with self._clock.pause(), self.watch.doing("evaluating"):
                among = _candidates(parts, trainer) if last else {}
                improved = self._improved(self._evaluate(parts, position, "after", among), position)
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
            self.watch.saved(position.step)
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
            metrics |= _data_metrics(name, view, position, data)
        metrics |= {f"train/{name}": float(count) for name, count in position.left_out.items()}
        metrics["train/tokens_seen"] = float(position.tokens_seen)
        metrics["train/tokens_per_second"] = tokens / max(seconds, 1e-9)
        metrics["train/data_wait_share"] = waited / max(seconds, 1e-9)
        if self.trainer.log_grad_norm and norm is not None:
            metrics["train/grad_norm"] = float(norm)
        metrics |= _faults_met(position)
        if self.trainer.log_weight_norms:
            metrics |= _weight_norms(parts)
        if self.trainer.log_train_accuracy:
            with self._clock.pause():
                metrics |= _train_accuracy(parts.each[data.objective], data, self.trainer)
        self._send(metrics, position.step)
        self.watch.logged(metrics)
        self.display.log(metrics, position.step)

    def _require_metric(self, parts: Parts, position: Position) -> None:
        """Before any step: what ``trainer.metric_for_best`` names has to be among what evaluations report."""
        if self.trainer.metric_for_best is None:
            return
        if not _evaluated(parts):
            msg = f"{KEY} = {self.trainer.metric_for_best!r}: there is no held-out data, so nothing is evaluated"
            raise UserError(msg)
        names = [name for means in position.evaluations.values() for name in means if f"/{AMONG_ALL}" not in f"/{name}"]
        prefixes = ("eval/", "eval/ema/") if parts.average is not None else ("eval/",)
        if names:  # of a checkpoint before its first evaluation there are none
            require_metric(self.trainer, list(dict.fromkeys(prefix + name for prefix in prefixes for name in names)))

    def _improved(self, metrics: Mapping[str, float], position: Position) -> bool:
        """Whether this evaluation is the best so far, which is remembered then."""
        best = improvement(self.trainer, metrics, position.step, position.best)
        if best is None:
            return False
        position.best = best
        position.evaluations[BEST] = position.evaluations["after"]
        self.display.note(f"step {best.step}  the best so far: {best.metric} {best.value:.4f}")
        return True

    def _evaluate(
        self, parts: Parts, position: Position, when: str, among: Mapping[str, TrainedCandidates]
    ) -> dict[str, float]:
        position.evaluations[when] = {}
        position.evaluations.pop(AVERAGED, None)  # of a run that had an average before it was resumed
        metrics: dict[str, float] = {}
        for name, view in _evaluated(parts).items():
            assert view.evaluation_data is not None
            beside = among.get(name)
            further = "" if beside is None else f", among {counted(len(beside.rows), 'text')} that are trained on, too"
            of = f" {name}" if name else ""
            self.display.note(f"evaluating{of} on {view.evaluation_data.description}{further} ...")
            means = named(name, self._measured(view, position, prefix_of(name) + when, beside))
            position.evaluations[when] |= means
            averaged = {}
            if parts.average is not None and parts.average.updates:
                with parts.average.in_place():
                    averaged = named(name, evaluate(view, view.evaluation_data, self.trainer, among=beside))
                position.evaluations[AVERAGED] = position.evaluations.get(AVERAGED, {}) | averaged
            metrics |= named("eval", means) | named("eval/ema", averaged)
            self.display.evaluation(means, position.step)
            if averaged:
                self.display.evaluation(averaged, position.step, "of the averaged weights ")
        self._send(metrics, position.step)
        return metrics

    def _measured(
        self, parts: Parts, position: Position, when: str, among: TrainedCandidates | None
    ) -> dict[str, float]:
        """Of the weights themselves, by position too where the recipe asks for it."""
        assert parts.evaluation_data is not None
        longest = parts.context.max_seq_length
        edges = tuple(edge for edge in self.trainer.eval_position_buckets if edge <= longest)
        positions = PositionMeter(edges, longest, parts.device) if edges else None
        means = evaluate(parts, parts.evaluation_data, self.trainer, positions, among)
        return means if positions is None else means | self._by_position(positions, parts.ranks, position, when)

    def _by_position(self, positions: PositionMeter, ranks: Ranks, position: Position, when: str) -> dict[str, float]:
        losses = positions.read(ranks)
        if losses is None:
            if positions.missed not in self._missed:
                self.display.note(f"trainer.eval_position_buckets: no loss by position: {positions.missed}")
                self._missed.add(positions.missed)
            return {}
        position.position_losses[when] = losses
        return losses.means()

    def _send(self, metrics: dict[str, float], step: int) -> None:
        for tracker in self.trackers:
            tracker.log(metrics, step)


def _evaluated(parts: Parts) -> dict[str, Parts]:
    """The objectives that have held-out data."""
    return {name: view for name, view in parts.each.items() if view.evaluation_data is not None}


def _candidates(parts: Parts, trainer: TrainerOptions) -> dict[str, TrainedCandidates]:
    """What held-out queries are ranked among besides, for each objective that has any. Raises UserError where none has,
    and the recipe asks for it."""
    if trainer.eval_train_candidates is None:
        return {}
    ranking = {name: view for name, view in parts.each.items() if makes_embeddings(view.own_objective.loss)}
    count = trainer.eval_train_candidates
    return {name: TrainedCandidates.of(view, count) for name, view in (ranking or parts.each).items()}


def _data_metrics(objective: str, parts: Parts, position: Position, data: StepBatches) -> dict[str, float]:
    """How far an objective is in its data; of several, how many steps were its too."""
    cursor, counts = own_cursor(position.cursor, objective), own(objective, position.source_tokens)
    metrics = {"train/epoch": float(data.epoch if objective == data.objective else cursor.epoch)}
    metrics |= mixture_metrics(parts.own_data.corpus.sources, counts, cursor)
    if not objective:
        return metrics
    metrics["train/steps"] = float(position.objective_steps[objective])
    return {name.replace("train/", f"train/{objective}/", 1): value for name, value in metrics.items()}


def mixture_metrics(sources: Sequence[SourceReport], tokens: Mapping[str, int], cursor: Cursor) -> dict[str, float]:
    """Of a mixture: each source's tokens trained on so far, how many passes over it that is (of a stream, those that
    are finished), and as ``train/epoch`` the passes over all of them together (with a stream, the least of all)."""
    if not sources:
        return {}
    metrics, passes = {}, []
    for source, mark in zip(sources, marks_of(cursor, len(sources)), strict=True):
        done = tokens.get(source.name, 0)
        passes.append(float(mark.epoch) if source.streaming else done / source.tokens)
        metrics[f"train/mix/{source.name}"] = float(done)
        metrics[f"train/mix_epoch/{source.name}"] = passes[-1]
    together = sum(tokens.values()) / max(1, sum(source.tokens for source in sources))
    metrics["train/epoch"] = min(passes) if any(source.streaming for source in sources) else together
    return metrics


def warmup_metrics(options: StepOptions, data: StepBatches) -> dict[str, float]:
    """What the step had of that which a warm-up grows; nothing of what none does."""
    metrics = {}
    if options.length_warmup is not None:
        metrics["train/max_seq_length"] = float(options.length_warmup.at(data.step))
    if options.batch_size_warmup is not None:
        metrics["train/micro_batches"] = float(len(data.micro_batches))
    return metrics


def _faults_met(position: Position) -> dict[str, float]:
    """How many steps were skipped, and how often the run went back, if any."""
    counts = {"skipped_steps": len(position.guard.skipped), "rollbacks": len(position.guard.rollbacks)}
    return {f"train/{name}": float(count) for name, count in counts.items() if count}


def _due(step: int, every: int | None) -> bool:
    return every is not None and step % every == 0


def _weight_norms(parts: Parts) -> dict[str, float]:
    """The norm of all weights of each role."""
    squares: dict[str, float] = {}
    for group in parts.groups:
        total = sum(float(p.detach().float().square().sum()) for p in group.parameters.values())
        squares[group.role] = squares.get(group.role, 0.0) + total
    return {f"train/weight_norm/{role}": math.sqrt(value) for role, value in squares.items()}


def _train_accuracy(parts: Parts, data: StepBatches, trainer: TrainerOptions) -> dict[str, float]:
    """On the step's last micro-batch, after the update."""
    accuracy = guess_accuracy(parts, parts.to_device(data.micro_batches[-1].batch), trainer)
    # Of all ranks' micro-batches, the step's last one is the last rank's.
    last = parts.ranks.gather(None if accuracy is None else float(accuracy))[-1]
    return {} if last is None else {"train/accuracy": last}
