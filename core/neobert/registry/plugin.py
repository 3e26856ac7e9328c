"""What discovery finds: plugins, what is broken, and names that two plugins claim."""

from __future__ import annotations

import functools

from attrs import frozen

from neobert.registry.guard import describe_error, guarded
from neobert.registry.requirements import install_line, unmet

BUILT_IN = "neobert"
"""The distribution whose plugins come with the core."""


@frozen
class Source:
    """Where a plugin comes from."""

    distribution: str
    version: str
    entry_point: str
    """The entry point's name in the group ``neobert.plugins``."""

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}".rstrip()

    @property
    def identity(self) -> str:
        """``distribution:entry_point``."""
        return f"{self.distribution}:{self.entry_point}"


@frozen
class Plugin:
    """An implementation of a kind, under a name."""

    kind: str
    name: str
    options_class: type
    source: Source
    deprecated: tuple[str, ...] = ()
    """What it uses that a later version will not have, a sentence each."""

    @property
    def distribution(self) -> str:
        return self.source.distribution

    @property
    def version(self) -> str:
        return self.source.version

    @property
    def entry_point(self) -> str:
        return self.source.entry_point

    @property
    def summary(self) -> str:
        """The first line of the options class's docstring; empty where there is none."""
        from inspect import getdoc

        return (getdoc(self.options_class) or "").partition("\n")[0].strip()

    @property
    def requires(self) -> tuple[str, ...]:
        """PEP 508 requirements of the options class."""
        return tuple(getattr(self.options_class, "requires", ()))

    def problem(self) -> str | None:
        """Why the plugin cannot run here, in one line, or None. Devices are left to `--check`."""
        return _problem(self.options_class)

    def install(self) -> str | None:
        """The command that installs what is missing, or None when nothing is."""
        missing = [item.requirement for item in unmet(self.requires)]
        return install_line(missing) if missing else None


@frozen
class Broken:
    """An entry point, a hook or a single options class that could not be used."""

    source: Source
    error: str
    """What happened, in one line."""
    kind: str | None = None
    """Known when a hook or an options class is at fault."""
    name: str | None = None
    """Known when an options class is at fault."""


@frozen
class Clash:
    """Several plugins of one kind under one name. Only a recipe that names it is refused."""

    kind: str
    name: str
    plugins: tuple[Plugin, ...]

    def __str__(self) -> str:
        return " and ".join(f"{plugin.source} ({plugin.entry_point})" for plugin in self.plugins)


@functools.cache
def _problem(options_class: type) -> str | None:
    reasons = [item.reason for item in unmet(getattr(options_class, "requires", ()))]
    reason = _own_reason(options_class, quiet=bool(reasons))
    return "; ".join([*reasons, *([reason] if reason else [])]) or None


def _own_reason(options_class: type, *, quiet: bool) -> str | None:
    """What ``available`` says. An exception is the reason, unless a missing requirement explains it."""
    available = getattr(options_class, "available", None)
    if available is None:
        return None
    answer, error = guarded(available)
    if error is not None:
        return None if quiet else f"available() failed: {describe_error(error)}"
    if answer is None:
        return None
    if isinstance(answer, str) and answer.strip():
        return " ".join(answer.split())
    return f"available() returned {answer!r}; it returns a reason, or None"
