"""The best checkpoint by a metric of the evaluations: found, kept, and named in the run's folder."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import asdict, frozen

from neobert.errors import UserError
from neobert.files import write_json
from neobert.training.evaluation_names import BEST

if TYPE_CHECKING:
    from neobert.recipe.trainer import TrainerOptions
    from neobert.training.loop import Position

KEY = "trainer.metric_for_best"
BEST_FILE = "best.json"
LOWEST = ("loss", "perplexity", "alignment", "uniformity")
HIGHEST = (
    "accuracy",
    "f1",
    "macro_f1",
    "matthews",
    "pearson",
    "spearman",
    "neighbour_accuracy",
    "agreement",
    "cosine",
)
RANKED = ("mrr@", "recall@", "ndcg@")
"""How the names of figures of rankings begin: of those, too, the highest is best."""


@frozen
class Best:
    """The step whose evaluation was the best so far; of two that are equal, the earlier."""

    step: int
    metric: str
    value: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any] | None) -> Best | None:
        return None if values is None else cls(**values)


def improvement(trainer: TrainerOptions, metrics: Mapping[str, float], step: int, so_far: Best | None) -> Best | None:
    """The evaluation at ``step`` as the best, where it is; None where it isn't, or nothing is asked for.

    ``metrics`` are under their full names. What is not a number is never the best.
    """
    name = trainer.metric_for_best
    if name is None:
        return None
    require_metric(trainer, metrics)
    value, sign = metrics[name], -1.0 if is_lowest_best(trainer) else 1.0
    if math.isnan(value) or (so_far is not None and sign * value <= sign * so_far.value):
        return None
    return Best(step, name, value)


def require_metric(trainer: TrainerOptions, known: Collection[str]) -> None:
    """Raises UserError where the run reports no such metric, or it is not known which of its values are good."""
    name = trainer.metric_for_best
    if name is None:
        return
    if name not in known:
        near = get_close_matches(name, known, n=1) or get_close_matches(f"eval/{name}", known, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        msg = f"{KEY} = {name!r}: this run reports no such metric{hint}\nit reports: {', '.join(sorted(known))}"
        raise UserError(msg)
    is_lowest_best(trainer)


def is_lowest_best(trainer: TrainerOptions) -> bool:
    """Whether less is better: as the recipe says, else as the metric's name tells."""
    name = str(trainer.metric_for_best)
    if trainer.best_is is not None:
        return trainer.best_is == "lowest"
    lowest = named_lowest_best(name)
    if lowest is not None:
        return lowest
    msg = (
        f"{KEY} = {name!r}: whether a high or a low value is good is not known of this metric\n"
        'say it: trainer.best_is = "highest" or "lowest"'
    )
    raise UserError(msg)


def named_lowest_best(metric: str) -> bool | None:
    """Whether less of a metric is better, as its full name tells; None where it does not."""
    # eval/loss/SOURCE is a loss too, eval/dim_64/accuracy an accuracy.
    words = metric.split("/")[1:]
    if any(word in LOWEST for word in words):
        return True
    if any(word in HIGHEST or word.startswith(RANKED) for word in words):
        return False
    return None


def settle_best(trainer: TrainerOptions, directory: Path, position: Position, folders: Collection[str]) -> str | None:
    """The best step of the checkpoint that a run goes on from: forgotten where the metric is another, or the step is
    not in the run's folder (any more); that is said. What the folder says of it is written anew."""
    best, said = position.best, None
    if best is not None and best.metric != trainer.metric_for_best:
        said = f"the best step so far was the best by {best.metric}: it is no longer looked for"
    elif best is not None and not any((directory / folder / str(best.step)).is_dir() for folder in folders):
        said = f"step {best.step}, the best so far, is not in {directory}: the best is looked for among later steps"
    if said is not None:
        position.best = None
        position.evaluations.pop(BEST, None)
    write_best(directory, position.best, folders)
    return said


def best_lines(best: Best | None) -> list[str]:
    """Which step was the best, for the summary."""
    return [] if best is None else [f"best: step {best.step}, {best.metric} {best.value:.4f} (kept)"]


def write_best(directory: Path, best: Best | None, folders: Collection[str]) -> None:
    """``best.json`` in the run's folder: step, metric, value, and where that step lies; none where there is none."""
    file = directory / BEST_FILE
    if best is None:
        file.unlink(missing_ok=True)
        return
    places = [f"{folder}/{best.step}" for folder in folders if (directory / folder / str(best.step)).is_dir()]
    write_json(file, {**best.to_json(), "folders": places})
