"""What is to go, and when: hooks, members of options classes, and names of ``neobert`` that still work.

docs/plugins/changes.md has the rules. What this project's own code does not use any more stands in one of the three
tables below until the version that leaves it out.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

MINORS_KEPT = 2
"""Minor versions that the old stays for after the one that announced its end."""


class PluginDeprecationWarning(FutureWarning):
    """Something that plugins use will be gone. Shown to whoever runs them, as Python shows `FutureWarning`: an author
    is not always the one who sees it first.
    """


@frozen(kw_only=True)
class Deprecation:
    """One thing that is to go."""

    what: str
    """As an author knows it, such as ``the hook neobert_samplers()``."""
    since: str
    """The version that announced it, such as ``0.3``."""
    removed: str = field()
    """The first version without it: at least `MINORS_KEPT` minor versions later, or the next major one."""
    instead: str
    """What to do, as a sentence's end: ``use neobert_datasets()``."""

    @removed.validator
    def _late_enough(self, attribute: Any, value: str) -> None:
        from packaging.version import Version

        since, removed = Version(self.since), Version(value)
        if removed.major == since.major and removed.minor - since.minor < MINORS_KEPT:
            msg = (
                f"{self.what}: announced in {since}, so it stays for {MINORS_KEPT} minor versions, not until {removed}"
            )
            raise ValueError(msg)

    def __str__(self) -> str:
        return f"{self.what} is deprecated since neobert {self.since} and gone in {self.removed}: {self.instead}"

    def warning(self) -> PluginDeprecationWarning:
        """For pluggy's ``warn_on_impl``, which shows it with the hook implementation's file and line."""
        return PluginDeprecationWarning(str(self))

    def warn(self, stacklevel: int = 2) -> None:
        """Shows it with the line that called what calls this; once a line, as Python's filters have it."""
        warnings.warn(self.warning(), stacklevel=stacklevel + 1)


HOOKS: Mapping[str, tuple[str, Deprecation]] = {}
"""Hook -> (the kind whose plugins it gives; its deprecation). Its specification stays in `neobert.hookspecs`."""
MEMBERS: Mapping[tuple[str, str], Deprecation] = {}
"""(kind, member of an options class) -> its deprecation."""
NAMES: Mapping[str, tuple[str, Deprecation]] = {}
"""Name that ``neobert.__all__`` does not have any more -> (what it was, as ``module:name``; its deprecation)."""


def deprecated_members(kind: str, options_class: type) -> list[Deprecation]:
    """Those of an options class that are to go."""
    return [entry for (of, member), entry in MEMBERS.items() if of == kind and hasattr(options_class, member)]
