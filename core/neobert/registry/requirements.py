"""PEP 508 requirements, checked against what is installed without importing any of it."""

from __future__ import annotations

from importlib.metadata import Distribution, PackageNotFoundError, distribution
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


@frozen
class Unmet:
    """A requirement that this environment does not meet."""

    requirement: str
    reason: str


def unmet(requires: Iterable[str]) -> list[Unmet]:
    """The requirements that are not met, with reasons. One whose marker does not apply here is skipped."""
    found = []
    for text in requires:
        reason = next(_reasons(text, extra="", seen=set()), None)
        if reason is not None:
            found.append(Unmet(text, reason))
    return found


def invalid_requirement(text: str) -> str | None:
    """Why a string is no PEP 508 requirement, or None."""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        Requirement(text)
    except InvalidRequirement as error:
        return str(error).partition("\n")[0]
    return None


def install_line(requires: Iterable[str]) -> str:
    """The command that installs them."""
    from packaging.requirements import Requirement

    wanted = []
    for text in requires:
        requirement = Requirement(text)
        requirement.marker = None
        wanted.append(f'"{requirement}"')
    return f"pip install {' '.join(wanted)}"


def _reasons(text: str, *, extra: str, seen: set[tuple[str, str]]) -> Iterator[str]:
    from packaging.requirements import Requirement

    requirement = Requirement(text)
    if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
        return
    wanted = f"{requirement.name}{_extras(requirement.extras)}{requirement.specifier}"
    try:
        installed = distribution(requirement.name)
    except PackageNotFoundError:
        yield f"needs {wanted}"
        return
    version = installed.version
    if not _matches(requirement.specifier, version):
        yield f"needs {wanted} ({version} is installed)"
    for name in sorted(requirement.extras):
        yield from _extra_reasons(installed, name, wanted, seen)


def _extra_reasons(installed: Distribution, extra: str, wanted: str, seen: set[tuple[str, str]]) -> Iterator[str]:
    """What the extra of an installed distribution asks for and does not get."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    if (installed.name, extra) in seen:
        return
    seen.add((installed.name, extra))
    provided = installed.metadata.get_all("Provides-Extra") or []
    if canonicalize_name(extra) not in {canonicalize_name(name) for name in provided}:
        yield f"needs {wanted} (the installed {installed.name} has no extra {extra!r})"
    for text in installed.requires or []:
        marker = Requirement(text).marker
        if marker is not None and marker.evaluate({"extra": extra}) and not marker.evaluate({"extra": ""}):
            for reason in _reasons(text, extra=extra, seen=seen):
                yield f"needs {wanted}, which {reason}"


def _matches(specifier: object, version: str | None) -> bool:
    """A pre-release that is installed is good enough."""
    from packaging.specifiers import SpecifierSet
    from packaging.version import InvalidVersion

    assert isinstance(specifier, SpecifierSet)
    try:
        return version is not None and specifier.contains(version, prereleases=True)
    except InvalidVersion:
        return not specifier


def _extras(extras: Iterable[str]) -> str:
    names = ",".join(sorted(extras))
    return f"[{names}]" if names else ""
