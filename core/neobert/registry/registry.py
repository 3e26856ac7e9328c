"""Lookup by name, with answers that say what to do."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from attrs import field, frozen

from neobert.errors import UserError
from neobert.kinds import KINDS
from neobert.registry.plugin import BUILT_IN, Broken, Clash, Plugin

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class PluginError(UserError):
    """A plugin that a recipe names cannot be used.

    ``hint`` is what a recipe's problem says under the line that shows the name; the exception's own text
    begins with kind and name, and stands alone.
    """

    def __init__(self, kind: str, name: str, hint: str) -> None:
        self.kind = kind
        self.name = name
        self.hint = hint
        first, *more = hint.splitlines()
        super().__init__("\n".join([f'{kind} "{name}": {first}', *(f"  {line}" for line in more)]))


class UnknownPluginError(PluginError):
    """No plugin of this kind has this name."""


class ClashError(PluginError):
    """Several plugins of this kind have this name."""


class BrokenPluginError(PluginError):
    """The plugin is installed, and at fault."""


class UnusablePluginError(PluginError):
    """The plugin is sound, and cannot run here."""


@frozen
class Registry:
    """What can be named in a recipe, and what cannot and why."""

    plugins: tuple[Plugin, ...]
    """By kind, in the order of `neobert.kinds.KINDS`, then by name; none of them in a clash."""
    broken: tuple[Broken, ...] = ()
    clashes: tuple[Clash, ...] = ()
    _by_name: dict[tuple[str, str], Plugin] = field(init=False, eq=False, repr=False)

    @_by_name.default
    def _index(self) -> dict[tuple[str, str], Plugin]:
        return {(plugin.kind, plugin.name): plugin for plugin in self.plugins}

    @classmethod
    def of(cls, plugins: Iterable[Plugin], broken: Sequence[Broken] = ()) -> Registry:
        """Sorts out which names are claimed once, and which are clashes."""
        claims: dict[tuple[str, str], list[Plugin]] = {}
        for plugin in plugins:
            others = claims.setdefault((plugin.kind, plugin.name), [])
            if not any(_same(plugin, other) for other in others):
                others.append(plugin)
        order = {kind: index for index, kind in enumerate(KINDS)}
        ordered = sorted(claims.items(), key=lambda item: (order[item[0][0]], item[0][1]))
        return cls(
            tuple(claimed[0] for _, claimed in ordered if len(claimed) == 1),
            tuple(broken),
            tuple(Clash(kind, name, tuple(claimed)) for (kind, name), claimed in ordered if len(claimed) > 1),
        )

    def names(self, kind: str) -> list[str]:
        """Names of this kind that stand for one plugin each, usable here or not."""
        return [plugin.name for plugin in self.plugins if plugin.kind == kind]

    def find(self, kind: str, name: str, *, by_default: bool = False) -> Plugin:
        """The plugin of that name, usable here or not.

        ``by_default``: no recipe said the name, a default did. In a clash that means the built-in, since what is
        installed beside it changes no run. Raises `UnknownPluginError`, `ClashError` or `BrokenPluginError`.
        """
        if kind not in KINDS:
            msg = f"no such kind: {kind!r}; there are {', '.join(KINDS)}"
            raise ValueError(msg)
        plugin = self._by_name.get((kind, name))
        if plugin is not None:
            return plugin
        for clash in self.clashes:
            if (clash.kind, clash.name) == (kind, name):
                own = [plugin for plugin in clash.plugins if plugin.distribution == BUILT_IN]
                if by_default and own:
                    return own[0]
                way_out = "uninstall all but one, or leave the others out with NEOBERT_PLUGINS"
                raise ClashError(kind, name, f"several plugins have this name: {clash}\n{way_out}")
        for broken in self.broken:
            if (broken.kind, broken.name) == (kind, name):
                raise BrokenPluginError(kind, name, f"this plugin of {broken.source} is broken\n{broken.error}")
        raise UnknownPluginError(kind, name, self._unknown(kind, name))

    def usable(self, kind: str, name: str, *, by_default: bool = False) -> Plugin:
        """The plugin of that name, which can run here. Raises like `find`, and `UnusablePluginError`."""
        plugin = self.find(kind, name, by_default=by_default)
        problem = plugin.problem()
        if problem is not None:
            others = [other.name for other in self.plugins if other.kind == kind and other.problem() is None]
            ways_out = [plugin.install(), f"or name another: {', '.join(others)}" if others else None]
            lines = [f"this plugin of {plugin.source} cannot run here: {problem}", *filter(None, ways_out)]
            raise UnusablePluginError(kind, name, "\n".join(lines))
        return plugin

    def _unknown(self, kind: str, name: str) -> str:
        """The nearest name, what there is, and what might have been."""
        names = self.names(kind) + [clash.name for clash in self.clashes if clash.kind == kind]
        nearest = difflib.get_close_matches(name, names, n=1)
        lines = [f'unknown {kind}; did you mean "{nearest[0]}"?' if nearest else f"unknown {kind}"]
        lines.append(self._available(kind))
        lines += [
            f"broken, its names unknown: {broken.source.entry_point} of {broken.source} ({broken.error})"
            for broken in self.broken
            if broken.kind in (None, kind) and broken.name is None
        ]
        if not self.plugins:
            lines.append("no plugin was found at all: is the distribution neobert installed (pip install -e .)?")
        return "\n".join(lines)

    def _available(self, kind: str) -> str:
        plugins = [plugin for plugin in self.plugins if plugin.kind == kind]
        problems = {plugin.name: plugin.problem() for plugin in plugins}
        usable = [name for name, problem in problems.items() if problem is None]
        unusable = [f"{name} ({problem})" for name, problem in problems.items() if problem is not None]
        text = f"available: {', '.join(usable) or 'none'}"
        return f"{text}    here but not usable: {', '.join(unusable)}" if unusable else text


def _same(one: Plugin, other: Plugin) -> bool:
    """One class under two entry points of one distribution is one plugin."""
    return one.options_class is other.options_class and one.distribution == other.distribution
