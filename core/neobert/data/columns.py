"""Which column of a dataset is trained on."""

from __future__ import annotations

from typing import Any, Literal

from neobert.damage import DAMAGE_COLUMN, DamageLog, settle_damage
from neobert.data.features import is_ids, is_text, listed, other_row, type_of, with_features
from neobert.data.mixed_rows import parts_of
from neobert.errors import UserError
from neobert.mixture import SOURCE_COLUMN
from neobert.wording import did_you_mean

OURS = (SOURCE_COLUMN, DAMAGE_COLUMN)
"""Columns that are no part of the data."""


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
    rows = with_features(rows, label)
    features = {name: feature for name, feature in rows.features.items() if name not in OURS}
    column = text_column if text_column is not None else _find(features, label, said)
    if column not in features:
        msg = f"{said} = {column!r}: {label} has no such column{did_you_mean(column, features)}\n{listed(features)}"
        raise UserError(msg)
    if column == "input_ids":
        _require(is_ids(features[column]), column, features, label, "lists of token ids")
    else:
        _require(is_text(features[column]), column, features, label, f"text{other_row(rows, column)}")
    rows = rows.select_columns([column, *(name for name in OURS if name in rows.features)])
    if DAMAGE_COLUMN in rows.features and hasattr(rows, "__len__"):
        rows = settle_damage(rows, [column], DamageLog(label, on_damaged_row))
    return rows if column in ("input_ids", "text") else rows.rename_column(column, "text")


def _find(features: dict[str, Any], label: str, said: str) -> str:
    if "input_ids" in features:
        return "input_ids"
    texts = [name for name, feature in features.items() if is_text(feature)]
    if len(texts) == 1:
        return texts[0]
    if "text" in texts:
        return "text"
    if not texts and "text" in features:
        return "text"
    if not texts:
        msg = f"{label} has no text column\n{listed(features)}"
    else:
        msg = f"{label} has several text columns: {', '.join(texts)}\nsay which: {said} = {texts[0]!r}"
    raise UserError(msg)


def _require(fits: bool, column: str, features: dict[str, Any], label: str, expected: str) -> None:
    if not fits:
        msg = f"column {column!r} of {label} is {type_of(features[column])}, expected {expected}\n{listed(features)}"
        raise UserError(msg)
