"""``--explain KIND.NAME``: a plugin's options with types, defaults and help, and where it is written."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from neobert.commands.kind import known_kind
from neobert.describe import describe_fields
from neobert.errors import UserError
from neobert.kinds import KINDS
from neobert.registry import Plugin, default_registry
from neobert.toml_text import toml_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from neobert.commands.arguments import Arguments


def run(arguments: Arguments) -> int:
    """Explains a plugin, each claimant of a name that clashes, or the table ``trainer``."""
    kind, _dot, name = str(arguments.value("--explain")).partition(".")
    if kind == "trainer" and not name:
        texts = [_trainer()]
    else:
        kind = _kind_of(kind)
        if not name:
            names = ", ".join(default_registry().names(kind)) or "none"
            msg = f"which {kind}? Say {kind}.NAME; names: {names}"
            raise UserError(msg)
        texts = [_plugin(plugin) for plugin in _claimants(kind, name)]
    print("\n\n".join(texts))
    return 0


def _kind_of(name: str) -> str:
    """A kind's name; a recipe's key for it, such as ``trackers``, will do."""
    return next((kind.name for kind in KINDS.values() if kind.key == name), None) or known_kind(name)


def _claimants(kind: str, name: str) -> tuple[Plugin, ...]:
    registry = default_registry()
    for clash in registry.clashes:
        if (clash.kind, clash.name) == (kind, name):
            return clash.plugins
    return (registry.find(kind, name),)


def _plugin(plugin: Plugin) -> str:
    problem, install = plugin.problem(), plugin.install()
    status = "can run here" if problem is None else f"cannot run here: {problem}"
    lines = [
        f"{plugin.kind}.{plugin.name}",
        *_indented(inspect.getdoc(plugin.options_class) or "(no docstring)"),
        "",
        f"  from      {plugin.source}, entry point {plugin.entry_point}",
        f"  written   {place_of(plugin.options_class)}",
        *([f"  requires  {', '.join(plugin.requires)}"] if plugin.requires else []),
        f"  status    {status}" + (f" ({install})" if install else ""),
        "",
        "options:",
        *_fields(plugin.options_class),
    ]
    served = KINDS[plugin.kind].served
    if served is not None:
        lines += [
            "",
            f"keys of the same table that the core serves for every {plugin.kind}:",
            *_fields(served),
        ]
    return "\n".join(lines)


def _trainer() -> str:
    from neobert.recipe.nodes import plain
    from neobert.recipe.source import defaults_layer
    from neobert.recipe.trainer import TrainerOptions

    lowest = plain(defaults_layer().value["trainer"])
    doc = _indented(inspect.getdoc(TrainerOptions) or "")
    return "\n".join(
        ["trainer", *doc, "", f"  written   {place_of(TrainerOptions)}", "", *_fields(TrainerOptions, lowest)]
    )


def place_of(cls: type) -> str:
    """``file:line`` of a class, as far as it can be known."""
    try:
        return f"{inspect.getsourcefile(cls)}:{inspect.getsourcelines(cls)[1]}"
    except (OSError, TypeError):
        return f"{cls.__module__}.{cls.__qualname__} (its source is not at hand)"


def _fields(cls: type, defaults: Mapping[str, Any] | None = None) -> Iterator[str]:
    """``defaults`` are those of the lowest layer, which stand for the class's own."""
    said = {key: f"default {toml_text(value)}" for key, value in (defaults or {}).items()}
    fields = describe_fields(cls)
    if not fields:
        yield "  (none)"
    for described in fields:
        default = described.default if described.default == "required" else f"default {described.default}"
        yield f"  {described.name}    {described.type}    {said.get(described.name, default)}"
        if described.help:
            yield f"      {described.help}"
        if described.part is not None:
            yield f"      names: {', '.join(default_registry().names(described.part)) or 'none'}"


def _indented(text: str) -> list[str]:
    return [f"  {line}".rstrip() for line in text.splitlines()]
