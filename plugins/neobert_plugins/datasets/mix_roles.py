"""Sources whose rows have columns by role, with the same columns of the same types."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from neobert import Roles, UserError
from neobert.damage import DAMAGE_COLUMN
from neobert.data.features import inner, is_integer, is_text
from neobert.data.role_columns import holds_ids


def alike(rows: dict[str, Any], roles: Roles, *, fill: bool) -> dict[str, Any]:
    """The rows of each source with every column as the others have it; with ``fill``, one that a source lacks has
    nothing in it. Raises UserError where sources do not go together."""
    faults = list(_faults(rows, roles))
    if faults:
        raise UserError("\n".join(faults))
    columns: dict[str, Any] = {}
    for found in rows.values():
        for name, feature in found.features.items():
            if name != DAMAGE_COLUMN:
                columns.setdefault(name, _plain(name, feature, roles))
    return {source: _with_columns(found, columns, fill) for source, found in rows.items()}


def _with_columns(rows: Any, columns: dict[str, Any], fill: bool) -> Any:
    import datasets
    import pyarrow as pa

    for name, feature in columns.items():
        if name not in rows.features:
            if fill:
                kind = datasets.Features({name: feature}).arrow_schema.field(name).type
                rows = rows.add_column(name, pa.nulls(len(rows), kind), feature=feature)
        elif rows.features[name] != feature:
            rows = rows.cast_column(name, feature)
    return rows


def _plain(name: str, feature: Any, roles: Roles) -> Any:
    """The type that a column has in all sources."""
    import datasets

    holds = roles.holding(roles.role_of(name) or name)
    whole, text = datasets.Value("int64"), datasets.Value("string")
    if holds == "int":
        return whole if is_integer(feature) else text
    if holds == "float":
        return datasets.Value("float64")
    if holds == "floats":
        return datasets.List(datasets.Value("float32"))
    items = inner(feature)
    if items is None:
        return text
    return datasets.List(_plain_items(items))


def _plain_items(items: Any) -> Any:
    import datasets

    deeper = inner(items)
    if deeper is not None:
        return datasets.List(datasets.Value("int64"))
    return datasets.Value("string") if is_text(items) else datasets.Value("int64")


def _faults(rows: dict[str, Any], roles: Roles) -> Iterator[str]:
    kinds = {name: "token ids" if holds_ids(found, roles) else "text" for name, found in rows.items()}
    if len(set(kinds.values())) > 1:
        said = ", ".join(f"{name} has {kind}" for name, kind in kinds.items())
        yield f"the sources of a mixture all have text, or all have token ids; here {said}"
    for role in roles.values:
        having = [name for name, found in rows.items() if role in found.features]
        if having and len(having) < len(rows):
            others = ", ".join(name for name in rows if name not in having)
            yield f"{role}: {', '.join(having)} have it and {others} have not: all sources have it, or none"
        elif having and roles.holding(role) == "int":
            yield from _label_faults(role, {name: found.features[role] for name, found in rows.items()})


def _label_faults(role: str, features: dict[str, Any]) -> Iterator[str]:
    """Labels that are told by names in one source and otherwise in another: a number would mean two things."""
    if len({is_text(feature) for feature in features.values()}) > 1:
        said = ", ".join(f"{name} has {'text' if is_text(kind) else 'numbers'}" for name, kind in features.items())
        yield f"{role}: {said}: all sources have the same"
    named = {tuple(getattr(feature, "names", None) or ()) for feature in features.values()}
    if len(named) > 1:
        yield f"{role}: the sources name their classes otherwise, so that a number would mean another one in each"
