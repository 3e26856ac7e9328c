"""What a run that makes embeddings or predictions ends with: each figure, before, after, and at the best step."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rich.table import Table

from neobert.training.evaluation_names import AMONG_ALL, CANDIDATES, COLUMNS
from neobert.wording import figure_text


def figures_table(evaluations: Mapping[str, Mapping[str, float]], what: str) -> Table | None:
    """A row for each figure of held-out ``what``. None where nothing was evaluated."""
    if "after" not in evaluations:
        return None
    columns = [name for name in COLUMNS if name in evaluations]
    columns += [name for name in evaluations if name not in COLUMNS]  # what needs no training
    table = Table(title=f"held-out {what}", title_justify="left")
    table.add_column("")
    for name in columns:
        table.add_column(COLUMNS.get(name, name), justify="right")
    for figure in dict.fromkeys(figure for name in columns for figure in evaluations[name]):
        values = [evaluations[name].get(figure) for name in columns]
        table.add_row(figure, *("-" if value is None else figure_text(figure, value) for value in values))
    if CANDIDATES in evaluations["after"]:
        table.caption = f"{AMONG_ALL}...: among the held-out candidates and those that are trained on"
    return table


def evaluation_command(directory: Path, evaluations: Mapping[str, Mapping[str, float]], what: str) -> str:
    """How to measure the run on data of one's own, of the kind that it was trained on."""
    figures = evaluations.get("after", {})
    if what == "predictions":
        return f"neobert-run --evaluate {directory} --tasks labelled=LABELLED.jsonl"
    kinds = {"spearman": "similarity=SCORED", "neighbour_accuracy": "classification=LABELLED"}
    kind = next((task for figure, task in kinds.items() if figure in figures), "retrieval=PAIRS")
    return f"neobert-run --evaluate {directory} --tasks {kind}.jsonl"
