"""What a run was trained on: lengths of documents, and the share of each source of a mixture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from neobert.objective_names import prefix_of
from neobert.report.numbers import NOTHING, share, short, whole
from neobert.report.run import RunRecord


@frozen(kw_only=True)
class Bar:
    """A row of a bar chart. Widths are shares of the widest place."""

    name: str
    width: float
    mark: float | None
    """Where what was meant lies."""
    cells: tuple[str, ...]


@frozen(kw_only=True)
class Bars:
    """A bar chart that is a table as well."""

    title: str
    columns: tuple[str, ...]
    """The first two, of names and bars, are left out."""
    bars: tuple[Bar, ...]
    note: str


def data_bars(run: RunRecord) -> list[Bars]:
    """The mixture and the lengths of each objective, where the run has written them."""
    found = []
    for objective, said in run.data.items():
        of, training = f" \N{MIDDLE DOT} {objective}" if objective else "", said["training"]
        if training["sources"]:
            found.append(_mixture(run, objective, training["sources"], of))
        if training["lengths"] is not None:
            found.append(_lengths(training, of))
    return found


def data_facts(run: RunRecord) -> list[tuple[str, str]]:
    """Counts of each objective's data."""
    facts = []
    for objective, said in run.data.items():
        training, held_out = said["training"], said["evaluation"]
        noun, scope = training["noun"], " (first window of a stream)" if training["streaming"] else ""
        of = f"{objective}: " if objective else ""
        facts.append((f"{of}{noun}s to train on", f"{whole(training['documents'])}{scope}"))
        facts.append((f"{of}tokens of an epoch", f"{short(training['trained_tokens'])}{scope}"))
        facts.append((f"{of}filled of a micro-batch", share(training["fill"])))
        if held_out is not None:
            facts.append((f"{of}held-out {held_out['noun']}s", whole(held_out["documents"])))
    return facts


def _lengths(training: Mapping[str, Any], of: str) -> Bars:
    bins, noun = training["lengths"]["bins"], training["noun"]
    highest, total = max(it["documents"] for it in bins), sum(it["tokens"] for it in bins)
    quantiles = training["lengths"]["quantiles"]
    return Bars(
        title=f"How long {noun}s are{of}",
        columns=(f"{noun}s", "of the tokens"),
        bars=tuple(
            Bar(
                name=f"{it['least']:,}\N{EN DASH}{it['most']:,}" if it["most"] > 1 else "1",
                width=it["documents"] / highest,
                mark=None,
                cells=(whole(it["documents"]), share(it["tokens"] / total)),
            )
            for it in bins
        ),
        note=f"Tokens of a {noun}, before any cutting. Median {whole(quantiles['median'])}, 5 % up to "
        f"{whole(quantiles['5 %'])}, 95 % up to {whole(quantiles['95 %'])}, longest {whole(quantiles['longest'])}.",
    )


def _mixture(run: RunRecord, objective: str, sources: Sequence[Mapping[str, Any]], of: str) -> Bars:
    trained = [_trained(run, objective, source["name"]) for source in sources]
    total = sum(trained) or 1.0
    widest = max(*(tokens / total for tokens in trained), *(source["share"] for source in sources))
    bars = []
    for source, tokens in zip(sources, trained, strict=True):
        passes = NOTHING if source["streaming"] else f"{tokens / max(1, source['tokens']):.2f}"
        bars.append(
            Bar(
                name=source["name"],
                width=tokens / total / widest,
                mark=source["share"] / widest,
                cells=(share(tokens / total), share(source["share"]), short(tokens), passes),
            )
        )
    return Bars(
        title=f"Mixture{of}",
        columns=("share", "meant", "tokens", "passes"),
        bars=tuple(bars),
        note="Tokens trained on, of each source. The line on a bar is the share that was meant.",
    )


def _trained(run: RunRecord, objective: str, source: str) -> float:
    """Tokens of a source, as last logged or in the summary."""
    name = prefix_of(objective) + source
    of_summary = (run.summary or {}).get("mixture", {}).get(name)
    series = run.series.get(f"train/{prefix_of(objective)}mix/{source}")
    return float(of_summary if of_summary is not None else 0.0 if series is None else series.last)
