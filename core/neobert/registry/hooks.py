"""From one loaded entry point to its plugins, hook by hook, so that one fault hides nothing else."""

from __future__ import annotations

import difflib
import inspect
import warnings
from typing import TYPE_CHECKING, Any

import pluggy
from pluggy import HookImpl

from neobert import hookspecs
from neobert.deprecation import HOOKS, deprecated_members
from neobert.kinds import KINDS
from neobert.registry.guard import describe_error, guarded
from neobert.registry.options import fault_of
from neobert.registry.plugin import Broken, Plugin, Source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pluggy import HookspecOpts

    from neobert.deprecation import Deprecation

_KIND_OF_HOOK = {kind.hook: kind.name for kind in KINDS.values()}
_PREFIX = f"{hookspecs.PROJECT}_"
_MARK = f"{hookspecs.PROJECT}_impl"


class _Manager(pluggy.PluginManager):
    """Warns of implementations of hooks that are to go, with their file and line."""

    def parse_hookspec_opts(self, module_or_class: Any, name: str) -> HookspecOpts | None:
        options = super().parse_hookspec_opts(module_or_class, name)
        if options is not None and name in HOOKS:
            options["warn_on_impl"] = HOOKS[name][1].warning()
        return options


def collect(loaded: object, source: Source) -> Iterator[Plugin | Broken]:
    """Every plugin that a loaded entry point provides, and every fault found on the way."""
    manager = _Manager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    _, error = guarded(lambda: manager.register(loaded, name=source.identity))
    if error is not None:
        yield Broken(source, describe_error(error))
        return
    found: list[Plugin | Broken] = [*_forgotten(loaded, source)]
    for caller in manager.get_hookcallers(loaded) or []:
        for implementation in caller.get_hookimpls():
            found += _from_hook(caller.name, caller.has_spec(), implementation, source)
    yield from found or [Broken(source, _nothing(loaded))]


def _nothing(loaded: object) -> str:
    what = loaded.__name__ if inspect.ismodule(loaded) else repr(loaded)
    return f"provides nothing: {what} has no hook implementation that returns a plugin"


def _forgotten(loaded: object, source: Source) -> Iterator[Broken]:
    """Functions named like hooks that nobody would ever call."""
    names, error = guarded(lambda: dir(loaded))
    for name in names or [] if error is None else []:
        member = inspect.getattr_static(loaded, name, None)
        member = getattr(member, "__func__", member)
        if name.startswith(_PREFIX) and inspect.isroutine(member) and not hasattr(member, _MARK):
            yield Broken(source, f"{name}() is not marked: put @hookimpl above it", _KIND_OF_HOOK.get(name))


def _from_hook(hook: str, has_spec: bool, implementation: HookImpl, source: Source) -> Iterator[Plugin | Broken]:
    if not has_spec:
        if not implementation.optionalhook:
            yield Broken(source, _unknown_hook(hook))
        return
    kind = HOOKS[hook][0] if hook in HOOKS else _KIND_OF_HOOK[hook]
    if implementation.wrapper or implementation.hookwrapper:
        yield Broken(source, f"{hook}() is a wrapper, which could swallow the plugins of others: refused", kind)
        return
    answer, error = guarded(implementation.function)
    if error is not None:
        yield Broken(source, f"{hook}() failed: {describe_error(error)}", kind)
    elif not isinstance(answer, dict):
        yield Broken(source, f"{hook}() returns a dict of name -> options class, got {answer!r}", kind)
    else:
        yield from _from_answer(kind, hook, answer, source)


def _from_answer(kind: str, hook: str, answer: dict[Any, Any], source: Source) -> Iterator[Plugin | Broken]:
    for name, options_class in answer.items():
        fault, error = guarded(lambda name=name, cls=options_class: fault_of(kind, name, cls))  # type: ignore[misc]
        if error is not None:
            fault = describe_error(error)
        if fault is None:
            members = deprecated_members(kind, options_class)
            _warn_of(members, options_class)
            deprecated = [HOOKS[hook][1], *members] if hook in HOOKS else members
            yield Plugin(kind, name, options_class, source, tuple(map(str, deprecated)))
        else:
            yield Broken(source, fault, kind, name if isinstance(name, str) else repr(name))


def _warn_of(members: list[Deprecation], options_class: type) -> None:
    """With the class's file and line: for members what pluggy does for hooks."""
    for one in members:
        file = inspect.getsourcefile(options_class) or options_class.__module__
        warnings.warn_explicit(one.warning(), None, file, inspect.getsourcelines(options_class)[1])


def _unknown_hook(hook: str) -> str:
    nearest = difflib.get_close_matches(hook, _KIND_OF_HOOK, n=1, cutoff=0.0)[0]
    return f"there is no hook {hook}(); did you mean {nearest}()?"
