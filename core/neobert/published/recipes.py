"""The recipe of a conversion, as TOML that passes the check, and what there is to say of it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli
import tomlkit

from neobert.errors import Problem, RecipeError, UserError
from neobert.files import write_text
from neobert.published.conversion import Conversion, Line
from neobert.published.convert import convert
from neobert.published.yaml_files import read_settings
from neobert.recipe.loading import load_recipe
from neobert.recipe.overrides import TABLES
from neobert.recipe.source import DEFAULTS
from neobert.toml_text import toml_item, toml_text
from neobert.wording import counted

TASKS = ("pretraining", "contrastive")
TRACKERS = "trackers"
_ROUNDS = 10


def convert_file(source: Path, target: Path) -> tuple[str, tuple[Problem, ...]]:
    """Writes ``target``; returns what became of each setting, and what the check still finds. Raises UserError."""
    settings = read_settings(source)
    task = settings.tree.get("task", TASKS[0])
    if task not in TASKS:
        msg = f"{source}: task: {task!r} is not training: {' and '.join(TASKS)} are converted"
        raise UserError(msg)
    if target.exists():
        msg = f"{target} is there already; name another file"
        raise UserError(msg)
    if not target.parent.is_dir():
        msg = f"there is no folder {target.parent} to write {target.name} in"
        raise UserError(msg)
    done = convert(settings)
    problems = _without_refused(done)
    said = "\n".join(_report(done, settings.groups))
    write_text(target, recipe_text(done, source))
    return f"wrote {target} from {source}\n{said}", problems


def recipe_text(done: Conversion, source: Path) -> str:
    """TOML, and what has no counterpart as comments at its end."""
    document = tomlkit.document()
    document.add(tomlkit.comment(f"From {source.name}, settings of the published NeoBERT training code."))
    trackers = _trackers(done.keys)
    if trackers:
        document.add(TRACKERS, toml_item(trackers))
    for name in TABLES:
        keys = {key.partition(".")[2]: value for key, value in done.keys.items() if key.startswith(f"{name}.")}
        if not keys or name == TRACKERS:
            continue
        table = tomlkit.table()
        for key in sorted(keys, key=lambda key: key != "name"):
            table.add(key, toml_item(keys[key]))
        document.add(name, table)
    lines = [*done.without, *done.unknown]
    if lines:
        document.add(tomlkit.nl())
        document.add(tomlkit.comment("Without a counterpart:"))
        for line in lines:
            document.add(tomlkit.comment(f"  {line.key} = {_shown(line.value)}: {line.why}"))
    return tomlkit.dumps(document)


def _trackers(keys: Mapping[str, Any]) -> list[Any]:
    """The default ones, and those that a setting lists: keys are ``trackers.NAME.KEY``."""
    found: dict[str, dict[str, Any]] = {}
    for key, value in keys.items():
        if key.startswith(f"{TRACKERS}."):
            _, name, option = key.split(".", 2)
            found.setdefault(name, {})[option] = value
    if not found:
        return []
    usual = tomli.loads(DEFAULTS.read_text(encoding="utf-8"))[TRACKERS]
    return [*usual, *({"name": name, **options} for name, options in found.items())]


def _without_refused(done: Conversion) -> tuple[Problem, ...]:
    """Leaves out what is refused here, until the check finds nothing that could be left out."""
    problems: tuple[Problem, ...] = ()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "recipe.toml"
        for _ in range(_ROUNDS):
            file.write_text(recipe_text(done, file), encoding="utf-8")
            try:
                load_recipe(file)
            except RecipeError as error:
                problems = error.problems
            else:
                return ()
            refused = {key: problem for problem in problems for key in _keys_of(problem, done)}
            if not refused:
                break
            for key, problem in refused.items():
                done.leave_out(key, problem.message.splitlines()[0])
    return problems


def _keys_of(problem: Problem, done: Conversion) -> list[str]:
    if problem.key in done.keys:
        return [problem.key]
    listed = [key for key in done.keys if key.startswith(f"{TRACKERS}.") and problem.key.startswith(TRACKERS)]
    option = problem.key.rpartition(".")[2]
    return [key for key in listed if key.endswith(f".{option}")] or listed


def _report(done: Conversion, groups: Sequence[str]) -> Iterator[str]:
    if groups:
        yield f"groups: {', '.join(groups)}"
    yield f"the same here: {counted(len(done.same), 'setting')}"
    yield from _section("turned into", done.turned)
    yield from _section("not in the file, written with the published default", done.defaults)
    yield from _section("without a setting", done.always)
    yield from _section("without a counterpart", done.without)
    yield from _section("unknown, left out", done.unknown)


def _section(title: str, lines: Sequence[Line]) -> Iterator[str]:
    if not lines:
        return
    yield f"{title}:"
    for line in lines:
        yield f"  {line.key} = {_shown(line.value)}" + (f"  ->  {line.why}" if line.why else "")


def _shown(value: Any) -> str:
    return " ".join(toml_text(value).split())
