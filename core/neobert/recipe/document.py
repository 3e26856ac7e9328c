"""The tables of docs/recipes.md, from the classes: ``python -m neobert.recipe.document docs/recipes.md``.

What stands between the two marks of the file is replaced; everything else is left as it is.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neobert.describe import describe_fields
from neobert.errors import UserError
from neobert.kinds import KINDS, Kind
from neobert.recipe.nodes import plain
from neobert.recipe.objectives import ObjectiveKeys
from neobert.recipe.source import defaults_layer
from neobert.recipe.trainer import TrainerOptions
from neobert.toml_text import toml_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from neobert.registry import Plugin, Registry

KEYS = "keys"
"""The name of the marks between which the tables stand."""
_ORDER = ("model", "attn_backend", "tokenizer", "dataset", "datacollator", "loss")


def document(registry: Registry, distribution: str = "neobert") -> str:
    """As Markdown: every key of a distribution's plugins, those that the core serves, and ``[trainer]``."""
    first = [KINDS[name] for name in _ORDER]
    kinds = first + [kind for kind in KINDS.values() if kind not in first]
    blocks: list[str] = []
    for kind in kinds:
        plugins = [plugin for plugin in registry.plugins if plugin.kind == kind.name]
        blocks += _kind(kind, [plugin for plugin in plugins if plugin.distribution == distribution])
    beside = (
        "In place of `[dataset]`, `[datacollator]` and `[loss]`, with those three inside, as often as there are names:"
    )
    blocks += ["### `[objectives.NAME]`", beside, _table(ObjectiveKeys)]
    blocks += ["### `[trainer]`", _table(TrainerOptions, plain(defaults_layer().value["trainer"]))]
    return "\n\n".join(blocks)


def replaced(text: str, content: str, name: str = KEYS) -> str:
    """A document with what stands between its marks of that name replaced."""
    first, last = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, begin, rest = text.partition(first)
    _, end, after = rest.partition(last)
    if not (begin and end):
        msg = f"the document has no place for it: {first} and {last}, each on a line of its own"
        raise UserError(msg)
    return f"{before}{begin}\n\n{content}\n\n{end}{after}"


def main(arguments: list[str]) -> None:
    """Rewrites the tables of the file named."""
    from neobert.registry import default_registry

    (path,) = map(Path, arguments)
    path.write_text(replaced(path.read_text(encoding="utf-8"), document(default_registry())), encoding="utf-8")


def _kind(kind: Kind, plugins: Iterable[Plugin]) -> Iterator[str]:
    place = {"attn_backend": "`attn_backend`, in `[model]`", "tracker": "`trackers`, a list"}
    yield f"### {place.get(kind.name, f'`[{kind.key}]`')}"
    if kind.served is not None:
        yield "Whatever plugin is named, the table has these keys:"
        yield _table(kind.served)
    named = plain(defaults_layer()).get(kind.key, {})
    for plugin in plugins:
        chosen = " (the default)" if plugin.name in (named if isinstance(named, list) else named.values()) else ""
        yield f'**`name = "{plugin.name}"`**{chosen}: {plugin.summary}'
        if describe_fields(plugin.options_class):
            yield _table(plugin.options_class)
        else:
            yield "It has no keys of its own."


def _table(cls: type, defaults: Mapping[str, Any] | None = None) -> str:
    """``defaults`` are those of the lowest layer, which stand for the class's own."""
    said = {key: toml_text(value) for key, value in (defaults or {}).items()}
    rows: list[tuple[str, ...]] = [("key", "takes", "default", "what it does"), ("---",) * 4]
    for description in describe_fields(cls):
        default = said.get(description.name, description.default)
        texts = (description.name, description.type, default)
        rows.append((*(f"`{text}`" for text in texts), description.help))
    return "\n".join(f"| {_row(row)} |" for row in rows)


def _row(cells: tuple[str, ...]) -> str:
    return " | ".join(cell.replace("|", r"\|") for cell in cells)


if __name__ == "__main__":
    main(sys.argv[1:])
