"""Which column of a dataset is trained on."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any, Literal

from neobert.damage import DAMAGE_COLUMN, DamageLog, settle_damage
from neobert.data.mixed_rows import parts_of
from neobert.errors import UserError
from neobert.mixture import SOURCE_COLUMN

_OURS = (SOURCE_COLUMN, DAMAGE_COLUMN)
_STRINGS = ("string", "large_string", "string_view")
_ROWS_SEARCHED = 100_000
_INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")


def prepare_columns(
    rows: Any,
    text_column: str | None,
    *,
    label: str,
    said: str = "dataset.text_column",
    on_damaged_row: Literal["skip", "stop"] = "skip",
) -> Any:
    """The rows with one column: ``text``, or ``input_ids`` where they are tokenized already. A mixture's keep the
    number of their source beside it, and a stream's what is wrong with those that cannot be read.

    ``text_column`` None: ``input_ids`` where there is one, the only string column, else ``text``. Raises
    UserError that lists the columns where that does not settle it, or where the column is not text; ``said`` is
    the key or flag that settles it.
    """
    if parts_of(rows) is not None:
        return rows  # each source's own were prepared before they were joined
    rows = _with_features(rows, label)
    features = {name: feature for name, feature in rows.features.items() if name not in _OURS}
    column = text_column if text_column is not None else _find(features, label, said)
    if column not in features:
        msg = f"{said} = {column!r}: {label} has no such column{_nearest(column, features)}\n{_listed(features)}"
        raise UserError(msg)
    if column == "input_ids":
        _require(_is_ids(features[column]), column, features, label, "lists of token ids")
    else:
        _require(_is_text(features[column]), column, features, label, f"text{_other_row(rows, column)}")
    rows = rows.select_columns([column, *(name for name in _OURS if name in rows.features)])
    if DAMAGE_COLUMN in rows.features and hasattr(rows, "__len__"):
        rows = settle_damage(rows, column, DamageLog(label, on_damaged_row))
    return rows if column in ("input_ids", "text") else rows.rename_column(column, "text")


def _find(features: dict[str, Any], label: str, said: str) -> str:
    if "input_ids" in features:
        return "input_ids"
    texts = [name for name, feature in features.items() if _is_text(feature)]
    if len(texts) == 1:
        return texts[0]
    if "text" in texts:
        return "text"
    if not texts and "text" in features:
        return "text"
    if not texts:
        msg = f"{label} has no text column\n{_listed(features)}"
    else:
        msg = f"{label} has several text columns: {', '.join(texts)}\nsay which: {said} = {texts[0]!r}"
    raise UserError(msg)


def _with_features(rows: Any, label: str) -> Any:
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


def _require(fits: bool, column: str, features: dict[str, Any], label: str, expected: str) -> None:
    if not fits:
        msg = f"column {column!r} of {label} is {_type(features[column])}, expected {expected}\n{_listed(features)}"
        raise UserError(msg)


def _other_row(rows: Any, column: str) -> str:
    """Of a column that holds text and other things: the first row that is none."""
    if not hasattr(rows, "__len__") or _is_text(rows.features[column]):
        return ""
    values = enumerate(rows.select(range(min(len(rows), _ROWS_SEARCHED)))[column])
    found = [(row, value) for row, value in values if value is not None]
    other = next(((row, value) for row, value in found if not isinstance(value, str)), None)
    if other is None or not any(isinstance(value, str) for _, value in found):
        return ""
    return f"; row {other[0]} has {type(other[1]).__name__} {str(other[1])[:40]!r}, others have text"


def _is_text(feature: Any) -> bool:
    return getattr(feature, "dtype", None) in _STRINGS


def _is_ids(feature: Any) -> bool:
    inner = getattr(feature, "feature", None)
    return getattr(inner, "dtype", None) in _INTEGERS


def _listed(features: dict[str, Any]) -> str:
    return "columns: " + ", ".join(f"{name} ({_type(feature)})" for name, feature in features.items())


def _type(feature: Any) -> str:
    inner = getattr(feature, "feature", None)
    dtype = getattr(feature, "dtype", type(feature).__name__)
    return f"list of {_type(inner)}" if inner is not None and not isinstance(inner, dict) else str(dtype)


def _nearest(name: str, names: Any) -> str:
    close = get_close_matches(name, list(names), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
