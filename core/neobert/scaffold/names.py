"""From the one name that an author gives to those of distribution, package, plugin and options class."""

from __future__ import annotations

import keyword
import re
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import TYPE_CHECKING

from attrs import frozen

from neobert.registry import default_registry

if TYPE_CHECKING:
    from collections.abc import Iterator

_DISTRIBUTION = re.compile(r"[A-Za-z][A-Za-z0-9]*([._-]+[A-Za-z0-9]+)*")
_PREFIX = "neobert_"
_FOLDERS = ("tests", "src", "docs")
"""Of the distribution itself: a package of that name could not be told from them."""


@frozen
class Names:
    """What everything in a new distribution is called."""

    distribution: str
    """As given, such as ``my-window``."""
    package: str
    """``my_window``."""
    plugin: str
    """What recipes say: the package's name, without a ``neobert_`` at its beginning."""
    options_class: str
    """``MyWindowOptions``."""


def names_for(name: str) -> Names:
    """The names that follow from the distribution's; whether they can be used, `name_faults` says."""
    package = re.sub(r"[._-]+", "_", name).lower()
    plugin = package.removeprefix(_PREFIX)
    return Names(name, package, plugin, "".join(map(str.capitalize, plugin.split("_"))) + "Options")


def name_faults(name: str, kind: str) -> list[str]:
    """Why no plugin of that kind can have this name here, a reason a line; none where it can."""
    if not _DISTRIBUTION.fullmatch(name):
        words = re.findall(r"[A-Za-z0-9]+", name)
        hint = "-".join(words).lstrip("0123456789-")
        near = f"; did you mean {hint}?" if hint else ""
        return [f"{name!r} is no name of a distribution: letters and digits, joined by - or _, a letter first{near}"]
    return [*_package_faults(names_for(name)), *_taken(names_for(name), kind)]


def _package_faults(names: Names) -> Iterator[str]:
    package = names.package
    if keyword.iskeyword(package) or keyword.issoftkeyword(package):
        yield f"{package} is a word of the Python language, so it can be no package's name"
    elif package in _FOLDERS:
        yield f"{package} is the name of a folder beside the package"
    elif package in sys.stdlib_module_names:
        yield f"{package} is a module of Python's standard library, which a package of that name would hide"
    elif (installed := _installed_version(names.distribution)) is not None:
        yield f"a distribution {names.distribution} is installed here ({installed}): pip could not tell them apart"
    elif (spec := find_spec(package)) is not None and spec.origin is not None:
        yield f"there is a package {package} here ({spec.origin}), which one of that name would hide"


def _installed_version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _taken(names: Names, kind: str) -> Iterator[str]:
    registry = default_registry()
    same = [plugin for plugin in registry.plugins if (plugin.kind, plugin.name) == (kind, names.plugin)]
    owners = [f"{plugin.source}" for plugin in same] + [
        str(clash) for clash in registry.clashes if (clash.kind, clash.name) == (kind, names.plugin)
    ]
    if owners:
        yield (
            f'the name "{names.plugin}" is taken for kind {kind}, by {" and ".join(owners)}: a recipe could name '
            f"neither of the two\n  did you mean my-{names.distribution}?"
        )
