"""What a run ends with: what was learned, where it lies, what to run next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from attrs import frozen
from rich.console import Console
from rich.table import Table
from rich.text import Text

from neobert.data.report import SourceReport
from neobert.training.evaluation_names import AVERAGED, BEST
from neobert.training.figures import figures_table
from neobert.training.guard import GuardState
from neobert.training.phrases import Phrase
from neobert.training.positions import PositionRow
from neobert.wording import counted

SHOWN = 10
"""Skipped steps that are listed, the last ones."""


def losses_table(evaluations: Mapping[str, Mapping[str, float]], unigram: float | None) -> Table | None:
    """Held-out loss before and after, beside the unigram model's, in nats a token; averaged weights and those
    of the best step have a row."""
    if "after" not in evaluations:
        return None
    table = Table(title="held-out masked-token loss (nats a token)", title_justify="left")
    others = {AVERAGED: "averaged", BEST: "of the best step"}
    others = {key: name for key, name in others.items() if key in evaluations}
    names = {"after": "as trained", **others} if others else {"after": ""}
    if len(names) > 1:
        table.add_column("weights")
    for column in ("before", "after", "unigram model", "below unigram"):
        table.add_column(column, justify="right")
    before = evaluations.get("before", {}).get("loss")
    for key, name in names.items():
        after = evaluations[key]["loss"]
        table.add_row(
            *([name] if name else []),
            "-" if before is None else f"{before:.4f}",
            f"{after:.4f}",
            "-" if unigram is None else f"{unigram:.4f}",
            "-" if unigram is None else f"{unigram - after:.4f}",
        )
    return table


def positions_table(rows: Sequence[PositionRow]) -> Table:
    """Held-out loss by position before and after; what is within twice its noise is no change to speak of."""
    table = Table(title="the same by a token's position in its sequence", title_justify="left")
    for column in ("positions", "tokens", "before", "after", "difference", "noise"):
        table.add_column(column, justify="right")
    for row in rows:
        numbers = (("before", ".4f"), ("after", ".4f"), ("difference", "+.4f"), ("noise", ".4f"))
        cells = (_number(getattr(row, name), form) for name, form in numbers)
        table.add_row(row.name, f"{row.tokens:,}", *cells)
    return table


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def objective_lines(steps: Mapping[str, int], probabilities: Mapping[str, float]) -> list[str]:
    """How many steps each of several objectives had, a line each."""
    total = max(1, sum(steps.values()))
    return [
        f"objective {name}: {counted(steps.get(name, 0), 'step')}, {steps.get(name, 0) / total:.1%} of all "
        f"(meant: {probability:.1%})"
        for name, probability in probabilities.items()
    ]


def mixture_lines(sources: Sequence[SourceReport], tokens: Mapping[str, int]) -> list[str]:
    """What each source of a mixture gave, a line each."""
    total = max(1, sum(tokens.values()))
    lines = []
    for source in sources:
        done = tokens.get(source.name, 0)
        passes = "" if source.streaming else f", {done / source.tokens:.2f} passes"
        lines.append(
            f"source {source.name}: {counted(done, 'token')} trained on, {done / total:.2%} of all "
            f"(meant: {source.share:.2%}){passes}"
        )
    return lines


def left_out_lines(counts: Mapping[str, int]) -> list[str]:
    """What was left out or cut of a stream, a line each."""
    return [
        f"{counted(count, name.replace('_', ' ').removesuffix('s'))} in the stream as far as it was read"
        for name, count in sorted(counts.items())
    ]


def guard_lines(guard: GuardState) -> Iterator[str]:
    """What the guard did, if anything."""
    if guard.skipped:
        yield f"{counted(len(guard.skipped), 'step')} skipped: {_listed(guard.skipped)}"
    for back in guard.rollbacks:
        yield f"went back from step {back['step']} to {back['to']}: {back['reason']}"


def _listed(steps: Sequence[int]) -> str:
    shown = ", ".join(map(str, steps[-SHOWN:]))
    return shown if len(steps) <= SHOWN else f"..., {shown}"


@frozen(kw_only=True)
class Learned:
    """What became of one objective."""

    objective: str
    """Its name, where there are several."""
    evaluations: Mapping[str, Mapping[str, float]]
    unigram: float | None
    positions: Sequence[PositionRow]
    phrases: Sequence[Phrase]
    figures_of: str | None
    """``embeddings`` or ``predictions``, of a loss that makes them: their figures are the table then."""


def show_summary(
    console: Console,
    *,
    learned: Sequence[Learned],
    notes: Sequence[str],
    places: Mapping[str, Path],
    next_commands: Sequence[str],
) -> None:
    """Prints it; of an objective that makes embeddings or predictions the figures of those.

    User text is never parsed as markup.
    """
    for one in learned:
        _show_learned(console, one)
    for note in notes:
        console.print(Text(note), soft_wrap=True)
    console.print("\nresults:")
    for name, path in places.items():
        console.print(Text(f"  {name:<12} {path}"), soft_wrap=True)
    console.print("next:")
    for command in next_commands:
        console.print(Text(f"  {command}"), soft_wrap=True)


def _show_learned(console: Console, learned: Learned) -> None:
    console.print()
    if learned.objective:
        console.print(f"objective {learned.objective}")
    evaluations = learned.evaluations
    if learned.figures_of is not None:
        table = figures_table(evaluations, learned.figures_of)
    else:
        table = losses_table(evaluations, learned.unigram)
    console.print(table if table is not None else "no held-out data: nothing was evaluated")
    if learned.positions:
        console.print(positions_table(learned.positions))
        console.print("noise: standard error of the difference, over documents")
    if learned.phrases:
        console.print("\nmasked held-out phrases, and the model's guesses:")
        for phrase in learned.phrases:
            _show_phrase(console, phrase)


def _show_phrase(console: Console, phrase: Phrase) -> None:
    line = Text(f"  ... {phrase.before} ")
    line.append(f"[{phrase.word}]", style="bold")
    line.append(f" {phrase.after} ...")
    console.print(line, soft_wrap=True)
    guesses = ", ".join(f"{token} {probability:.0%}" for token, probability in phrase.guesses)
    console.print(Text(f"      {guesses}", style="dim"), soft_wrap=True)
