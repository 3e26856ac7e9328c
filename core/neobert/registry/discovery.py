"""From the entry points of installed distributions to a registry."""

from __future__ import annotations

import difflib
import os
import re
from importlib.metadata import Distribution, EntryPoint, distributions, entry_points
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from neobert.errors import UserError
from neobert.registry.guard import describe_error, guarded
from neobert.registry.hooks import collect
from neobert.registry.plugin import BUILT_IN, Broken, Plugin, Source
from neobert.registry.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

GROUP = "neobert.plugins"
ONLY = "NEOBERT_PLUGINS"


@frozen
class InstalledPoint:
    """An entry point as its distribution's metadata has it; nothing of it is imported."""

    name: str
    module: str
    """What loading it would import: a module, or an object in one after a colon."""
    distribution: str
    version: str
    status: str
    """``loaded`` by a run, ``left out`` by ``NEOBERT_PLUGINS``, or ``broken``."""


def installed_entry_points(environ: Mapping[str, str] | None = None) -> list[InstalledPoint]:
    """Every entry point of the group, by distribution and name, whatever ``NEOBERT_PLUGINS`` says of it."""
    only = (os.environ if environ is None else environ).get(ONLY)
    found, faults = _entry_points()
    used = found if only is None else _selected(only, found)
    points = [
        InstalledPoint(
            source.entry_point,
            entry_point.value,
            source.distribution,
            source.version,
            "loaded" if (source, entry_point) in used else f"left out: {ONLY} does not name it",
        )
        for source, entry_point in found
    ]
    broken = [
        InstalledPoint(b.source.entry_point, "?", b.source.distribution, b.source.version, f"broken: {b.error}")
        for b in faults
    ]
    return points + broken


def load_registry(environ: Mapping[str, str] | None = None) -> Registry:
    """A new registry of what is installed now.

    With ``NEOBERT_PLUGINS`` set in ``environ`` (default: the process's own), only the built-ins and the entry
    points that it names, separated by commas, are loaded; an unknown name raises `UserError`.
    """
    only = (os.environ if environ is None else environ).get(ONLY)
    found, faults = _entry_points()
    if only is not None:
        found, faults = _selected(only, found), []
    plugins: list[Plugin] = []
    broken: list[Broken] = list(faults)
    for source, entry_point in found:
        for item in _load(source, entry_point):
            (plugins if isinstance(item, Plugin) else broken).append(item)  # type: ignore[arg-type]
    return Registry.of(plugins, broken)


def _load(source: Source, entry_point: EntryPoint) -> Iterable[Plugin | Broken]:
    loaded, error = guarded(entry_point.load)
    if error is not None:
        return [Broken(source, f"{entry_point.value} does not load: {describe_error(error)}")]
    return collect(loaded, source)


def _entry_points() -> tuple[list[tuple[Source, EntryPoint]], list[Broken]]:
    """Each entry point of the group once, though its distribution be found twice on the path."""
    group, error = guarded(lambda: list(entry_points(group=GROUP)))
    faults: list[Broken] = []
    if error is not None or group is None:
        group, faults = _one_by_one()
    found: dict[tuple[str, str, str], tuple[Source, EntryPoint]] = {}
    for entry_point in group:
        source = _source(entry_point)
        found.setdefault((_normal(source.distribution), entry_point.name, entry_point.value), (source, entry_point))
    return sorted(found.values(), key=lambda item: (item[0].distribution, item[0].entry_point)), faults


def _one_by_one() -> tuple[list[EntryPoint], list[Broken]]:
    """The same walk where some distribution cannot be read: that one is named, the others are used."""
    group: list[EntryPoint] = []
    faults: list[Broken] = []
    seen: set[str] = set()
    for distribution in distributions():
        name, version = _name_and_version(distribution)
        if _normal(name) in seen:
            continue
        seen.add(_normal(name))
        points, error = guarded(lambda it=distribution: list(it.entry_points.select(group=GROUP)))  # type: ignore[misc]
        if error is not None:
            faults.append(
                Broken(Source(name, version, "?"), f"its entry points cannot be read: {describe_error(error)}")
            )
        group += points or []
    return group, faults


def _source(entry_point: EntryPoint) -> Source:
    return Source(*_name_and_version(entry_point.dist), entry_point.name)


def _name_and_version(distribution: Distribution | None) -> tuple[str, str]:
    """As its metadata says; where that cannot be read, as its folder is called."""
    if distribution is None:
        return "(unknown distribution)", ""
    folder = Path(str(getattr(distribution, "_path", "(unknown distribution)"))).name
    stem, _, rest = folder.removesuffix(".dist-info").removesuffix(".egg-info").partition("-")
    name, _ = guarded(lambda: distribution.name)
    version, _ = guarded(lambda: distribution.version)
    return name or stem, version or rest


def _selected(only: str, found: list[tuple[Source, EntryPoint]]) -> list[tuple[Source, EntryPoint]]:
    wanted = [name.strip() for name in only.split(",") if name.strip()]
    known = sorted({source.entry_point for source, _ in found})
    for name in wanted:
        if name not in known and name not in {source.identity for source, _ in found}:
            nearest = difflib.get_close_matches(name, known, n=1)
            hint = f'; did you mean "{nearest[0]}"?' if nearest else ""
            strangers = sorted({source.entry_point for source, _ in found if not _is_built_in(source)})
            there = ", ".join(strangers) or "none besides the built-ins"
            msg = f"{ONLY} names {name!r}, and no installed distribution has an entry point of that name{hint}"
            raise UserError(f"{msg}\n  entry points here: {there}")
    return [
        (source, entry_point)
        for source, entry_point in found
        if _is_built_in(source) or source.entry_point in wanted or source.identity in wanted
    ]


def _is_built_in(source: Source) -> bool:
    return _normal(source.distribution) == BUILT_IN


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
