"""Evaluating between two steps: what held-out data says of the weights, and of their average."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from attrs import define, field

from neobert.abilities import makes_embeddings
from neobert.errors import UserError
from neobert.objective_names import named, prefix_of
from neobert.recipe.trainer import TrainerOptions
from neobert.training.assemble import Parts
from neobert.training.best import KEY, improvement, require_metric
from neobert.training.display import Display
from neobert.training.evaluate import evaluate
from neobert.training.evaluation_names import AMONG_ALL, AVERAGED, BEST
from neobert.training.positions import PositionMeter
from neobert.training.ranks import Ranks
from neobert.training.trained_candidates import TrainedCandidates
from neobert.wording import counted

if TYPE_CHECKING:
    from neobert.training.loop import Position


@define(kw_only=True)
class Evaluator:
    """Evaluates as the recipe says, and remembers in the position what came of it."""

    trainer: TrainerOptions
    display: Display
    send: Callable[[dict[str, float], int], None]
    """To the trackers, with the step."""
    _missed: set[str | None] = field(factory=set, init=False)
    """Why there is no loss by position: said once."""

    def require_metric(self, parts: Parts, position: Position) -> None:
        """Before any step: what ``trainer.metric_for_best`` names has to be among what evaluations report."""
        if self.trainer.metric_for_best is None:
            return
        if not evaluated(parts):
            msg = f"{KEY} = {self.trainer.metric_for_best!r}: there is no held-out data, so nothing is evaluated"
            raise UserError(msg)
        names = [name for means in position.evaluations.values() for name in means if f"/{AMONG_ALL}" not in f"/{name}"]
        prefixes = ("eval/", "eval/ema/") if parts.average is not None else ("eval/",)
        if names:  # of a checkpoint before its first evaluation there are none
            require_metric(self.trainer, list(dict.fromkeys(prefix + name for prefix in prefixes for name in names)))

    def remember_best(self, metrics: Mapping[str, float], position: Position) -> bool:
        """Whether this evaluation is the best so far, which is remembered then."""
        best = improvement(self.trainer, metrics, position.step, position.best)
        if best is None:
            return False
        position.best = best
        position.evaluations[BEST] = position.evaluations["after"]
        self.display.note(f"step {best.step}  the best so far: {best.metric} {best.value:.4f}")
        return True

    def evaluate(
        self, parts: Parts, position: Position, when: str, among: Mapping[str, TrainedCandidates]
    ) -> dict[str, float]:
        """Figures as they are logged, of each objective that has held-out data. ``among``: see `candidates_of`."""
        position.evaluations[when] = {}
        position.evaluations.pop(AVERAGED, None)  # of a run that had an average before it was resumed
        metrics: dict[str, float] = {}
        for name, view in evaluated(parts).items():
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
        self.send(metrics, position.step)
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


def evaluated(parts: Parts) -> dict[str, Parts]:
    """The objectives that have held-out data."""
    return {name: view for name, view in parts.each.items() if view.evaluation_data is not None}


def candidates_of(parts: Parts, trainer: TrainerOptions) -> dict[str, TrainedCandidates]:
    """What held-out queries are ranked among besides, for each objective that has any. Raises UserError where none has,
    and the recipe asks for it."""
    if trainer.eval_train_candidates is None:
        return {}
    ranking = {name: view for name, view in parts.each.items() if makes_embeddings(view.own_objective.loss)}
    count = trainer.eval_train_candidates
    return {name: TrainedCandidates.of(view, count) for name, view in (ranking or parts.each).items()}
