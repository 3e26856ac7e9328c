"""A resolved recipe as text: each value with where it came from, each part with its distribution."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neobert.recipe.nodes import dotted
from neobert.recipe.source import shown
from neobert.toml_text import toml_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from neobert.recipe.tree import Recipe


def render_check(recipe: Recipe) -> str:
    """Plain text in aligned columns: every value with its origin, then every part with its distribution."""
    origins = recipe.origins
    values = [
        (key, "(unset)" if value is None else toml_text(value), origins[key]) for key, value in recipe.flat().items()
    ]
    parts = [(dotted(path), part.kind, part.name, part.distribution or "-") for path, part in recipe.parts()]
    lines = [
        f"recipe {shown(recipe.path)}",
        "",
        *_columns([("key", "value", "from"), *values]),
        "",
        *_columns([("part", "kind", "plugin", "distribution"), *parts]),
    ]
    return "\n".join(lines)


def _columns(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
