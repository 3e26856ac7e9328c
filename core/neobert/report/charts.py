"""Which charts a page has: every metric that was logged is in one, unless a table says the same."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from attrs import evolve, frozen

from neobert.api.metrics import Series
from neobert.objective_names import prefix_of
from neobert.report.numbers import figure, share, short, whole
from neobert.report.plot import Chart, Level, Line, Style, draw
from neobert.report.run import RunRecord
from neobert.report.tables import unigram_of
from neobert.training.evaluation_names import AMONG_ALL

LOSS, OPTIMISATION, SPEED, EVALUATION, MORE = "Learning curve", "Optimisation", "Speed", "Evaluation", "Further metrics"
_OF = " \N{MIDDLE DOT} "
"""Between a title and the objective that it is of."""
_LEFT_OUT = re.compile(r"tokens_seen|steps|epoch|perplexity|mix/.*|mix_epoch/.*|skipped_steps|rollbacks")
"""Of training: what counts, and what tables, figures or the list of events have."""


@frozen(kw_only=True)
class _Place:
    """Where a metric of one objective is shown."""

    section: str
    title: str
    """Metrics with the same title are in one chart."""
    line: str
    """What its curve is called there."""
    colour: int | None = None
    """Of its curve in a chart of one run; None for the next one."""
    unit: str = ""
    text: Callable[[float], str] = short
    tick: Callable[[float], str] | None = None
    """How numbers on its axis are written; None: as numbers are."""
    may_log: bool = False
    is_evaluation: bool = False


def _loss(name: str, colour: int) -> _Place:
    return _Place(section=LOSS, title="Loss", line=name, colour=colour, text=lambda value: figure("loss", value))


_TRAINING = {
    "loss": _loss("Training", 0),
    "learning_rate": _Place(section=OPTIMISATION, title="Learning rate", line="Learning rate"),
    "grad_norm": _Place(
        section=OPTIMISATION, title="Gradient norm", line="Gradient norm", unit="before clipping", may_log=True
    ),
    "tokens_per_second": _Place(section=SPEED, title="Tokens a second", line="Tokens a second", text=whole),
    "data_wait_share": _Place(
        section=SPEED,
        title="Waiting for data",
        line="Waiting for data",
        unit="share of the time",
        text=share,
        tick=share,
    ),
    "max_seq_length": _Place(section=OPTIMISATION, title="Sequence length", line="Tokens", unit="tokens", text=whole),
    "micro_batches": _Place(section=OPTIMISATION, title="Micro-batches of a step", line="Number", text=whole),
}
_GROUPS = {
    "recall@": ("Recall", "recall@"),
    "loss_at/": ("Held-out loss by position", ""),
    "loss/": ("Held-out loss by source", ""),
    "weight_norm/": ("Norm of the weights", ""),
}
"""How metrics begin that are curves of one chart -> its title, and what stands before the rest of their names."""


def charts_of(runs: Sequence[RunRecord]) -> dict[str, list[Chart]]:
    """Section -> its charts, if any, in the order of the page. Curves of several runs lie over each other."""
    found: dict[tuple[str, str], list[tuple[_Place, Line]]] = {}
    for number, run in enumerate(runs):
        for metric, series in run.series.items():
            place = _place(metric, run.objectives)
            if place is None or (place.section == EVALUATION and not _is_curve(series)):
                continue  # the table has all that there is to say
            title = place.title if len(runs) == 1 else _alone(place)
            lines = found.setdefault((place.section, title), [])
            known = len(lines) if place.colour is None else place.colour
            colour, name = (number, run.name) if len(runs) > 1 else (known, place.line)
            lines.append((place, Line(name=name, series=series, colour=colour, dotted=place.is_evaluation)))
    sections: dict[str, list[Chart]] = {name: [] for name in (LOSS, EVALUATION, OPTIMISATION, SPEED, MORE)}
    for number, ((section, title), lines) in enumerate(found.items()):
        sections[section].append(_chart(f"c{number}", title, lines, _levels(runs, title)))
    return sections


def _is_curve(series: Series) -> bool:
    """Whether there is more to see than a value before and one after, or one that never changes."""
    return len(series.steps) > 2 and len(set(series.values)) > 1


def _chart(id: str, title: str, lines: Sequence[tuple[_Place, Line]], levels: Sequence[Level]) -> Chart:
    """In the order of colours."""
    place = lines[0][0]
    curves = sorted((line for _, line in lines), key=lambda line: line.colour)
    style = Style(unit=place.unit, text=place.text, tick=place.tick, may_log=place.may_log)
    return draw(id, title, curves, style, levels)


def _levels(runs: Sequence[RunRecord], title: str) -> list[Level]:
    """What a unigram model comes to, beside the losses of one run."""
    if len(runs) > 1 or not title.startswith("Loss"):
        return []
    objective = title.partition(_OF)[2]
    value = unigram_of(runs[0], objective)
    return [] if value is None else [Level("Unigram model", value)]


def _alone(place: _Place) -> str:
    """The title of a chart of one metric, where each run has a curve in it."""
    if place.section == LOSS:
        return place.title.replace("Loss", f"{place.line} loss", 1)
    return place.title if place.line in place.title or place.section != EVALUATION else f"{place.title}: {place.line}"


def _place(metric: str, objectives: Sequence[str]) -> _Place | None:
    """Where it is shown; None for nowhere."""
    kind, _, rest = metric.partition("/")
    averaged = kind == "eval" and rest.startswith("ema/")
    rest = rest.removeprefix("ema/") if averaged else rest
    objective = next((name for name in objectives if name and rest.startswith(prefix_of(name))), "")
    rest = rest.removeprefix(prefix_of(objective))
    if kind not in ("train", "eval"):
        return _Place(section=MORE, title=metric, line=metric)
    place = _of_training(rest) if kind == "train" else _of_evaluation(rest, averaged)
    if place is None or not objective:
        return place
    return evolve(place, title=f"{place.title}{_OF}{objective}")


def _of_training(name: str) -> _Place | None:
    if _LEFT_OUT.fullmatch(name):
        return None
    return _TRAINING.get(name) or _grouped(name, MORE, is_evaluation=False)


def _of_evaluation(name: str, averaged: bool) -> _Place | None:
    if name == "perplexity" or name.startswith(AMONG_ALL):
        return None
    if name == "loss":
        return evolve(_loss(*(("Held-out (averaged)", 2) if averaged else ("Held-out", 1))), is_evaluation=True)
    return _grouped(f"{name} of averaged weights" if averaged else name, EVALUATION, is_evaluation=True)


def _grouped(name: str, section: str, *, is_evaluation: bool) -> _Place:
    for begins, (title, before) in _GROUPS.items():
        if name.startswith(begins):
            line = before + name.removeprefix(begins)
            return _Place(section=section, title=title, line=line, text=_figure, is_evaluation=is_evaluation)
    return _Place(section=section, title=name, line=name, text=_figure, is_evaluation=is_evaluation)


def _figure(value: float) -> str:
    return figure("", value) if abs(value) < 1000 else short(value)
