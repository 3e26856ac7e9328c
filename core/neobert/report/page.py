"""The page: one HTML file that needs nothing else, from templates beside this module."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from neobert.report.charts import EVALUATION, charts_of
from neobert.report.chosen import chosen_keys
from neobert.report.data import data_bars, data_facts
from neobert.report.figures import figures_of, recipe_differences
from neobert.report.headline import Fact, facts_of, made_of, warnings_of, what_it_is
from neobert.report.history import history_of
from neobert.report.plot import SIDE
from neobert.report.run import RunRecord
from neobert.report.tables import comparison_table, evaluation_tables, position_tables
from neobert.report.terminal import value_text

GENERATOR = "neobert-run --report"
"""By which a page of ours is known: it is written again in its place, where another file never is."""
_HIDDEN = ("trainer.output_dir",)
"""Of the values that are not the defaults: every run has its own."""


def page_of(runs: Sequence[RunRecord]) -> str:
    """HTML about a run, or about several beside each other. All text of users is escaped."""
    environment = Environment(
        loader=PackageLoader("neobert.report", "assets"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = (Path(__file__).parent / "assets" / "page.js").read_text(encoding="utf-8")
    style = (Path(__file__).parent / "assets" / "page.css").read_text(encoding="utf-8")
    several = len(runs) > 1
    return environment.get_template("page.html").render(
        title=f"{len(runs)} runs" if several else runs[0].name,
        generator=GENERATOR,
        version=metadata.version("neobert"),
        written=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        style=style,
        script=script,
        script_hash=_hash(script),
        side=SIDE,
        several=several,
        runs=[_of_run(run, number) for number, run in enumerate(runs)],
        sections=charts_of(runs),
        evaluation=EVALUATION,
        comparison=comparison_table([figures_of(run) for run in runs]) if several else None,
        differences=[
            (it.key, [value_text(value) for value in it.values])
            for it in recipe_differences([run.recipe for run in runs])
        ],
    )


def is_page(file: Path) -> bool:
    """Whether a file is a page that this module wrote."""
    with file.open("rb") as opened:
        return f'name="generator" content="{GENERATOR}"'.encode() in opened.read(2000)


def _of_run(run: RunRecord, number: int) -> dict[str, object]:
    """What the templates show of one run."""
    chosen, why = chosen_keys(run.folder / "recipe.toml")
    values = [(key, value_text(value)) for key, value in run.recipe.items()]
    return {
        "number": number,
        "name": run.name,
        "folder": str(run.folder),
        "life": run.status.life,
        "status": what_it_is(run),
        "made_of": made_of(run),
        "facts": facts_of(run),
        "warnings": warnings_of(run),
        "tables": [*evaluation_tables(run), *position_tables(run)],
        "bars": data_bars(run),
        "data_facts": [Fact(name=name, value=value) for name, value in data_facts(run)],
        "events": history_of(run),
        "environment": _environment(run),
        "chosen": [(key, value) for key, value in values if chosen and key in chosen and key not in _HIDDEN],
        "chosen_note": why,
        "recipe": run.recipe_text,
    }


def _environment(run: RunRecord) -> list[tuple[str, str]]:
    """Name and value, tables inside it too; what is null is left out."""
    found = []
    for name, value in run.environment.items():
        if isinstance(value, dict):
            found += [(f"{name} {key}" if name != "libraries" else key, str(item)) for key, item in value.items()]
        elif value is not None:
            found.append((name, str(value).lower() if isinstance(value, bool) else str(value)))
    return [(name.replace("_", " "), value) for name, value in found if not name.startswith("plugins ")]


def _hash(script: str) -> str:
    """As a content security policy wants it: this script runs, and no other."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
