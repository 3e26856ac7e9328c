"""The types of a dataset's columns, and how they are told to people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from neobert.errors import UserError

_STRINGS = ("string", "large_string", "string_view")
_INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
_FLOATS = ("float16", "float32", "float64")
_ROWS_SEARCHED = 100_000


def with_features(rows: Any, label: str) -> Any:
    """The rows with their columns known; those of a stream that does not say are read off its first row."""
    import datasets

    if rows.features is None:
        first = next(iter(rows), None)
        if first is not None:
            return rows.cast(datasets.Dataset.from_list([first]).features)
    if not rows.features:
        msg = f"{label} is empty: it has no row, and no column"
        raise UserError(msg)
    return rows


def is_text(feature: Any) -> bool:
    """Strings."""
    return getattr(feature, "dtype", None) in _STRINGS


def is_integer(feature: Any) -> bool:
    """Whole numbers, those of classes with names too; no lists."""
    return inner(feature) is None and getattr(feature, "dtype", None) in (*_INTEGERS, "bool")


def is_number(feature: Any) -> bool:
    """Numbers, whole ones too."""
    return inner(feature) is None and getattr(feature, "dtype", None) in (*_INTEGERS, *_FLOATS)


def is_ids(feature: Any) -> bool:
    """Lists of whole numbers."""
    found = inner(feature)
    return found is not None and getattr(found, "dtype", None) in _INTEGERS


def inner(feature: Any) -> Any | None:
    """What a list's items are; None for what is no list."""
    found = getattr(feature, "feature", None)
    return None if isinstance(found, dict) else found


def type_of(feature: Any) -> str:
    """For people."""
    items = inner(feature)
    if items is not None:
        return f"list of {type_of(items)}"
    return str(getattr(feature, "dtype", type(feature).__name__))


def listed(features: Mapping[str, Any]) -> str:
    """All columns with their types, a line."""
    return "columns: " + ", ".join(f"{name} ({type_of(feature)})" for name, feature in features.items())


def other_row(rows: Any, column: str) -> str:
    """Of a column that holds text and other things: the first row that is none."""
    if not hasattr(rows, "__len__") or is_text(rows.features[column]):
        return ""
    values = enumerate(rows.select(range(min(len(rows), _ROWS_SEARCHED)))[column])
    found = [(row, value) for row, value in values if value is not None]
    other = next(((row, value) for row, value in found if not isinstance(value, str)), None)
    if other is None or not any(isinstance(value, str) for _, value in found):
        return ""
    return f"; row {other[0]} has {type(other[1]).__name__} {str(other[1])[:40]!r}, others have text"
