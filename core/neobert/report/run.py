"""A run as its folder has it: whether it goes on, was killed, or is at its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli
from attrs import frozen

from neobert.api.metrics import Series
from neobert.errors import UserError
from neobert.recipe.nodes import Key, dotted
from neobert.report.lines import read_lines, read_object
from neobert.report.series import series_of
from neobert.run_folder import DATA, ENVIRONMENT, METRICS, RECIPE, SUMMARY
from neobert.watching.events import EVENTS
from neobert.watching.status import RunStatus, read_status


@frozen(kw_only=True)
class RunRecord:
    """What was found; what the run has not written is empty or None."""

    folder: Path
    name: str
    """By which it is told from the others it is looked at with."""
    status: RunStatus
    series: Mapping[str, Series]
    summary: Mapping[str, Any] | None
    """Of a run that came to its end."""
    environment: Mapping[str, Any]
    data: Mapping[str, Any]
    """Objective -> its data; of a run with one, its name is empty. None of a run of an earlier version."""
    recipe: Mapping[str, Any]
    """Dotted key -> value."""
    recipe_text: str
    events: Sequence[Mapping[str, Any]]
    notes: Sequence[str]
    """What could not be read."""

    @property
    def step(self) -> int:
        """The newest step that is known of."""
        beat = self.status.beat
        logged = max((series.steps[-1] for series in self.series.values()), default=0)
        return max(logged, beat.step if beat is not None else 0)

    @property
    def max_steps(self) -> int | None:
        """As the recipe has it."""
        value = self.recipe.get("trainer.max_steps")
        return value if isinstance(value, int) else None

    @property
    def objectives(self) -> tuple[str, ...]:
        """Their names; of a run with one, the empty one."""
        names = dict.fromkeys(key.split(".")[1] for key in self.recipe if key.startswith("objectives."))
        return tuple(names) or ("",)


def read_runs(said: Sequence[str]) -> list[RunRecord]:
    """Each of these folders. Raises UserError, with all that is wrong, where one is no run or has no metrics."""
    folders = [Path(it) for it in said]
    twice = [str(folder) for number, folder in enumerate(folders) if folder.resolve() in _resolved(folders[:number])]
    if twice:
        msg = f"named twice: {', '.join(twice)}"
        raise UserError(msg)
    found, faults = [], []
    for folder, name in zip(folders, _names(folders), strict=True):
        try:
            found.append(read_run(folder, name))
        except UserError as error:
            faults.append(str(error))
    if faults:
        raise UserError("\n".join(faults))
    return found


def read_run(folder: Path, name: str) -> RunRecord:
    """Raises UserError for a folder that is no run's, or that has no metrics."""
    status = read_status(folder)
    rows, notes = read_lines(folder / METRICS)
    series = series_of(rows)
    if not series:
        msg = f"{folder}: there are no metrics to show: {_why(folder / METRICS)}"
        raise UserError(msg)
    events, more = read_lines(folder / EVENTS)
    text, recipe = _recipe(folder / RECIPE)
    data = (read_object(folder / DATA) or {}).get("objectives")
    return RunRecord(
        folder=folder,
        name=name,
        status=status,
        series=series,
        summary=read_object(folder / SUMMARY),
        environment=read_object(folder / ENVIRONMENT) or {},
        data=data if isinstance(data, dict) else {},
        recipe=recipe,
        recipe_text=text,
        events=events,
        notes=[*notes, *more],
    )


def _why(file: Path) -> str:
    if not file.exists():
        return f"it has no {file.name} (nothing was logged yet, or no tracker of its recipe writes that file)"
    return f"{file.name} holds no line with a step and a number"


def _recipe(file: Path) -> tuple[str, dict[str, Any]]:
    """Its text and its values. Read as TOML alone: the plugins of another machine need not be here."""
    try:
        text = file.read_text(encoding="utf-8")
        return text, dict(_flat(tomli.loads(text)))
    except FileNotFoundError:
        msg = f"{file.parent} has no {file.name}: it is no run's whole folder"
        raise UserError(msg) from None
    except (tomli.TOMLDecodeError, UnicodeDecodeError) as error:
        msg = f"{file} is damaged: it is no TOML ({error})"
        raise UserError(msg) from error


def _flat(tree: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Dotted key -> value as `Recipe.flat` has them; what ``unset`` names is unset, and no key of its own."""
    return [leaf for key, value in tree.items() if key != "unset" for leaf in _leaves((key,), value)]


def _leaves(path: Key, value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        return [leaf for key, item in value.items() for leaf in _leaves((*path, key), item)]
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        return [leaf for number, item in enumerate(value) for leaf in _leaves((*path, number), item)]
    return [(dotted(path), value)]


def _resolved(folders: Sequence[Path]) -> set[Path]:
    return {folder.resolve() for folder in folders}


def _names(folders: Sequence[Path]) -> list[str]:
    """The last part of each path, or as many as it takes to tell them apart."""
    absolute = [folder.resolve() for folder in folders]
    longest = max(len(folder.parts) for folder in absolute)
    for length in range(1, longest + 1):
        names = ["/".join(folder.parts[-length:]) for folder in absolute]
        if len(set(names)) == len(names):
            return names
    return [str(folder) for folder in folders]
