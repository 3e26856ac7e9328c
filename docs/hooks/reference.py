"""The parts of the reference that the code itself has, as Markdown. Each is made when the site is built."""

from __future__ import annotations

import inspect
import re
from typing import Any

import attrs

import neobert
import neobert.testing
from neobert.commands.flags import FLAGS
from neobert.commands.help import help_text
from neobert.kinds import KINDS
from neobert.registry import default_registry


def commands() -> str:
    """All flags, with what they take and the help that the command line prints; then what else `--help` says."""
    usage, _, rest = help_text().partition("flags:\n")
    more = rest.partition("\n\n")[2]
    rows = [("flag", "takes", "what it does"), ("---",) * 3]
    rows += [(f"`{flag.name}`", _code(" ".join(flag.values)), flag.help) for flag in FLAGS]
    texts = {"Usage": usage, "Flags": "", "Overrides, exit status, environment": more}
    blocks = [
        f"## {title}\n\n" + (f"```text\n{text.strip()}\n```" if text else _table(rows)) for title, text in texts.items()
    ]
    return "\n\n".join(blocks)


def plugins() -> str:
    """The plugins of the distribution itself, kind by kind."""
    blocks = []
    for kind in KINDS:
        rows = [("name", "what it is", "needs"), ("---",) * 3]
        for plugin in default_registry().plugins:
            if plugin.kind == kind and plugin.distribution == "neobert":
                rows.append((f"`{plugin.name}`", plugin.summary, _code(", ".join(plugin.requires))))
        blocks.append(f"## {kind}\n\n[How one is written](../plugins/{kind}.md).\n\n{_table(rows)}")
    return "\n\n".join(blocks)


def api() -> str:
    """Signature, docstring and fields of every public name."""
    blocks = []
    for module in (neobert, neobert.testing):
        blocks.append(f"## `{module.__name__}`")
        for name in sorted(module.__all__, key=str.lower):
            blocks += [f"### `{name}`", *_described(name, getattr(module, name))]
    return "\n\n".join(blocks)


def _described(name: str, it: Any) -> list[str]:
    if inspect.isclass(it):
        fields = _fields(it) if attrs.has(it) else []
        return [_doc(it), *([_table(fields)] if len(fields) > 2 else []), *_methods(it)]
    if inspect.isroutine(it):
        return [f"```python\n{name}{_signature(it)}\n```", _doc(it)]
    return [f"`{it!r}`"] if not hasattr(it, "project_name") else ["Put above a hook: `@hookimpl`, of pluggy."]


def _fields(cls: type) -> list[tuple[str, ...]]:
    rows = [("field", "type", "default"), ("---",) * 3]
    return rows + [(f"`{field.alias}`", _code(str(field.type)), _default(field.default)) for field in attrs.fields(cls)]


def _default(default: Any) -> str:
    if default is attrs.NOTHING:
        return "required"
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]
        return "derived" if default.takes_self else _code(repr(default.factory()))
    return _code(repr(default))


def _methods(cls: type) -> list[str]:
    """Public ones of its own with a docstring, each on a line."""
    lines = []
    for name, member in vars(cls).items():
        function = getattr(member, "__func__", member)
        if name.startswith("_") or not (inspect.isfunction(function) or isinstance(member, property)):
            continue
        doc = (inspect.getdoc(member) or "").partition("\n\n")[0].replace("\n", " ")
        if doc:
            call = "" if isinstance(member, property) else _signature(function)
            lines.append(f"- `{name}{call}`: {doc}")
    return ["\n".join(lines)] if lines else []


def _signature(function: Any) -> str:
    return re.sub(r"'([^']*)'", r"\1", str(inspect.signature(function)))


def _doc(it: Any) -> str:
    return inspect.getdoc(it) or ""


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _table(rows: list[tuple[str, ...]]) -> str:
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows)


PARTS = {"commands": commands, "plugins": plugins, "api": api}
"""Name of a mark ``<!-- site: NAME -->`` -> what stands in its place."""
