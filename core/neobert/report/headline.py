"""What stands at the top of a page: what was trained, how it went, and what it came to."""

from __future__ import annotations

from collections.abc import Iterator

from attrs import frozen

from neobert.objective_names import prefix_of
from neobert.report.figures import figures_of
from neobert.report.numbers import duration, figure, short, whole
from neobert.report.run import RunRecord
from neobert.wording import counted, listed

_TOLD = ("mrr@10", "spearman", "neighbour_accuracy", "accuracy", "loss")
"""Figures of evaluations, the most telling first."""


@frozen(kw_only=True)
class Fact:
    """A number that matters, with what there is to say beside it."""

    name: str
    value: str
    beside: str = ""


def what_it_is(run: RunRecord) -> str:
    """Whether it goes on, in words."""
    step = f"{run.step:,}" + ("" if run.max_steps is None else f" of {run.max_steps:,}")
    return {
        "running": f"still running, at step {step}",
        "finished": f"finished at step {step}",
        "ended": f"ended with its data at step {step}",
        "stopped": f"stopped by a signal at step {step}",
        "failed": f"failed at step {step}",
        "killed": f"killed, or its machine was lost, at about step {step}",
    }[run.status.life]


def made_of(run: RunRecord) -> str:
    """The parts that make the most difference."""
    parts = []
    for objective in run.objectives:
        table = f"objectives.{objective}." if objective else ""
        loss, dataset = (run.recipe.get(f"{table}{kind}.name", "?") for kind in ("loss", "dataset"))
        parts.append(f"{loss} on {dataset}" + (f" ({objective})" if objective else ""))
    optimizer = run.recipe.get("optimizer.name", "?")
    return f"{run.recipe.get('model.name', '?')} trained with {optimizer}: {listed(parts)}"


def facts_of(run: RunRecord) -> list[Fact]:
    """The numbers at the top."""
    figures = figures_of(run)
    return [
        *_learned(run),
        Fact(
            name="Steps",
            value=f"{run.step:,}",
            beside="" if run.max_steps is None else f"of {run.max_steps:,}",
        ),
        Fact(name="Tokens", value=short(figures.tokens), beside=whole(figures.tokens)),
        Fact(name="Time", value=duration(figures.seconds), beside="in steps alone"),
        Fact(name="Speed", value=whole(figures.tokens_per_second), beside="tokens a second, median"),
    ]


def _learned(run: RunRecord) -> Iterator[Fact]:
    for objective in run.objectives:
        of = f" \N{MIDDLE DOT} {objective}" if objective else ""
        prefix = prefix_of(objective)
        told = next((name for name in _TOLD if f"eval/{prefix}{name}" in run.series), None)
        if told is not None:
            series = run.series[f"eval/{prefix}{told}"]
            name = "Held-out loss" if told == "loss" else f"Held-out {told}"
            first = f"from {figure(told, series.values[0])}" if len(series.values) > 1 else ""
            yield Fact(name=f"{name}{of}", value=figure(told, series.last), beside=first)
        training = run.series.get(f"train/{prefix}loss")
        if training is not None:
            beside = f"from {figure('loss', training.values[0])}" if len(training.values) > 1 else ""
            yield Fact(name=f"Training loss{of}", value=figure("loss", training.last), beside=beside)
    best = (run.summary or {}).get("best")
    if best is not None:
        metric = best["metric"]
        yield Fact(name=f"Best {metric}", value=figure(metric, best["value"]), beside=f"step {best['step']:,}, kept")


def warnings_of(run: RunRecord) -> list[str]:
    """What a reader has to know before the numbers: a run that is not whole, lines that cannot be read, spoiled
    steps."""
    found = []
    if not run.status.at_its_end:
        said = what_it_is(run)
        found.append(f"{said[0].upper()}{said[1:]}: the figures are those so far.")
    found += [f"{note[0].upper()}{note[1:]}." for note in run.notes]
    skipped, back = (run.series.get(f"train/{name}") for name in ("skipped_steps", "rollbacks"))
    if skipped is not None:
        found.append(f"{counted(int(skipped.last), 'step')} skipped because loss or gradient were at fault.")
    if back is not None:
        found.append(f"The run went back to a checkpoint {counted(int(back.last), 'time')}.")
    return found
