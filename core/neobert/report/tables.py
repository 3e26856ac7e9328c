"""Tables of a page: what evaluations came to, buckets of positions, and several runs side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import frozen

from neobert.objective_names import own
from neobert.report.figures import RunFigures, best_of, steps_text
from neobert.report.numbers import NOTHING, duration, figure, whole
from neobert.report.run import RunRecord
from neobert.training.evaluation_names import AMONG_ALL, CANDIDATES, COLUMNS

UNIGRAM = "unigram model"
LOSS_AT = "loss_at/"
_FIRST = ("mrr@", "ndcg@", "recall@", "spearman", "neighbour_accuracy", "loss", "perplexity", "accuracy")
"""How figures begin that are told first, in this order."""


@frozen
class Cell:
    """A number as text, and whether it is the best of its row."""

    text: str
    is_best: bool = False


@frozen
class Row:
    """A row: what it is about, and its cells."""

    name: str
    cells: tuple[Cell, ...]


@frozen(kw_only=True)
class Table:
    """A table with a number in every cell but the first of each row."""

    title: str
    columns: tuple[str, ...]
    """The first one's is left out."""
    rows: tuple[Row, ...]
    note: str = ""


def evaluation_tables(run: RunRecord) -> list[Table]:
    """Of each objective, every figure before, after, and of what needs no training."""
    evaluations, found = _evaluations(run), []
    for objective in run.objectives:
        columns = {when: own(objective, means) for when, means in evaluations.items()}
        columns = {when: means for when, means in columns.items() if means}
        if columns:
            found += _tables_of(run, objective, columns)
    return found


def _tables_of(run: RunRecord, objective: str, columns: Mapping[str, Mapping[str, float]]) -> list[Table]:
    """Figures among held-out texts, and those among all texts apart."""
    names = sorted(dict.fromkeys(name for means in columns.values() for name in means), key=_rank)
    of = f" \N{MIDDLE DOT} {objective}" if objective else ""
    own_table = (AMONG_ALL, LOSS_AT) if (run.summary or {}).get("positions") else (AMONG_ALL,)
    held_out = [name for name in names if not name.startswith(own_table)]
    unigram = unigram_of(run, objective)
    beside = {} if unigram is None or "loss" not in held_out else {UNIGRAM: {"loss": unigram}}
    found = [_figures(f"Held out{of}", held_out, {**columns, **beside})]
    among = [name for name in names if name.startswith(AMONG_ALL) and name != CANDIDATES]
    if among:
        texts = next((means[CANDIDATES] for means in columns.values() if CANDIDATES in means), None)
        found.append(_figures(f"Among {whole(texts)} texts, with those that are trained on{of}", among, columns))
    return found


def _rank(name: str) -> int:
    plain = name.removeprefix(AMONG_ALL)
    return next((rank for rank, begins in enumerate(_FIRST) if plain.startswith(begins)), len(_FIRST))


def unigram_of(run: RunRecord, objective: str) -> float | None:
    """The cross-entropy of a unigram model on held-out text, once the run is at its end and has such text."""
    said = (run.summary or {}).get("unigram_cross_entropy")
    found: float | None = said.get(objective) if isinstance(said, dict) else said
    return found


def _figures(title: str, names: Iterable[str], columns: Mapping[str, Mapping[str, float]]) -> Table:
    columns = {when: means for when, means in columns.items() if any(name in means for name in names)}
    rows = []
    for name in names:
        values = [means.get(name) for means in columns.values()]
        rows.append(_row(name.removeprefix(AMONG_ALL), f"eval/{name}", values))
    titles = {**COLUMNS, "before": "before training"}
    return Table(title=title, columns=tuple(titles.get(when, when) for when in columns), rows=tuple(rows))


def _row(name: str, metric: str, values: Sequence[float | None]) -> Row:
    best = best_of(metric, values)
    return Row(name, tuple(Cell(figure(metric, value), number == best) for number, value in enumerate(values)))


def _evaluations(run: RunRecord) -> dict[str, dict[str, float]]:
    """As the summary has them; of a run that is not at its end, what was logged first and last."""
    if run.summary is not None:
        found: dict[str, dict[str, float]] = run.summary.get("evaluations", {})
        order = [*COLUMNS, *(when for when in found if when not in COLUMNS)]
        return {when: _numbers(found[when]) for when in order if when in found}
    series = {name.removeprefix("eval/"): it for name, it in run.series.items() if name.startswith("eval/")}
    series = {name: it for name, it in series.items() if not name.startswith("ema/")}
    if not series:
        return {}
    newest = max(it.steps[-1] for it in series.values())
    before = {name: it.values[0] for name, it in series.items() if it.steps[0] == 0}
    return {"before": before, f"step {newest:,}": {name: it.last for name, it in series.items() if newest}}


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in values.items()}


def position_tables(run: RunRecord) -> list[Table]:
    """Held-out loss by a token's position, where it was measured."""
    said = (run.summary or {}).get("positions", {})
    of_each = said if isinstance(said, dict) else {"": said}
    return [_positions(objective, rows) for objective, rows in of_each.items()]


def _positions(objective: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    found = []
    for row in rows:
        numbers = [row.get(name) for name in ("before", "after", "difference", "noise")]
        texts = [whole(row.get("tokens")), *(figure("loss", number) for number in numbers)]
        found.append(Row(str(row.get("name")), tuple(map(Cell, texts))))
    return Table(
        title="Held-out loss by position" + (f" \N{MIDDLE DOT} {objective}" if objective else ""),
        columns=("tokens", "before training", "after", "difference", "noise"),
        rows=tuple(found),
        note="Noise: standard error of the difference, over documents.",
    )


def comparison_table(figures: Sequence[RunFigures]) -> Table:
    """Several runs side by side."""
    facts = {
        "status": [it.status for it in figures],
        "steps": [steps_text(it) for it in figures],
        "tokens": [whole(it.tokens) for it in figures],
        "time": [duration(it.seconds) for it in figures],
        "tokens a second": [whole(it.tokens_per_second) for it in figures],
    }
    rows = [Row(name, tuple(map(Cell, texts))) for name, texts in facts.items()]
    for metric in dict.fromkeys(name for it in figures for name in it.metrics):
        found = [it.metrics.get(metric) for it in figures]
        rows.append(_row(metric, metric, [None if it is None else it.last for it in found]))
        if any(it is not None and it.best is not None and it.best_step != it.last_step for it in found):
            best = best_of(metric, [None if it is None else it.best for it in found])
            texts = [
                NOTHING if it is None or it.best is None else f"{figure(metric, it.best)} at {it.best_step:,}"
                for it in found
            ]
            cells = (Cell(text, number == best) for number, text in enumerate(texts))
            rows.append(Row("\N{NO-BREAK SPACE}\N{NO-BREAK SPACE}at its best", tuple(cells)))
    return Table(
        title="Side by side",
        columns=tuple(it.run for it in figures),
        rows=tuple(rows),
        note="Time: of the logged steps, without evaluating and saving. Speed: median of the log lines.",
    )
