"""Which column of a dataset has which role, checked against what the datacollator takes: every fault in one answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from attrs import frozen

from neobert.damage import DAMAGE_COLUMN, DamageLog, settle_damage
from neobert.data.columns import OURS
from neobert.data.features import (
    inner,
    is_ids,
    is_integer,
    is_number,
    is_text,
    listed,
    other_row,
    type_of,
    with_features,
)
from neobert.data.mixed_rows import parts_of
from neobert.errors import UserError
from neobert.roles import Holds, Roles, mapping_faults, missing_roles, number_of
from neobert.toml_text import toml_text
from neobert.wording import did_you_mean

_EXPECTED: dict[Holds, str] = {
    "text": "text",
    "texts": "text, or lists of texts",
    "int": "whole numbers or strings",
    "float": "numbers",
    "floats": "lists of numbers",
}


@frozen
class RoleRows:
    """Rows whose columns are named by role, and what there is to say about the others."""

    rows: Any
    notes: tuple[str, ...]


def prepare_roles(
    rows: Any,
    roles: Roles,
    columns: Mapping[str, str],
    *,
    label: str,
    said: str = "dataset.role_columns",
    on_damaged_row: Literal["skip", "stop"] = "skip",
) -> RoleRows:
    """The rows with the columns that have a role, under its name: ``negatives``, and beside it or in its place
    ``negative``, ``negative_1`` ... A mixture's keep the number of their source, a stream's what is wrong with them.

    ``columns`` empty: those named like roles, and then no other text may be there. Raises UserError with all that is
    missing, unknown or of the wrong type; ``said`` is the key that settles it.
    """
    if parts_of(rows) is not None:
        return RoleRows(rows, ())  # each source's own were prepared before they were joined
    rows = with_features(rows, label)
    features = {name: feature for name, feature in rows.features.items() if name not in OURS}
    mapping = dict(columns) or {name: name for name in features if roles.role_of(name) is not None}
    faults = list(_faults(mapping, features, roles, rows, given=bool(columns)))
    if faults:
        lines = "\n".join(f"- {fault}" for fault in faults)
        way = _way(mapping, features, roles, said, given=bool(columns))
        msg = f"{label} does not fit the roles of the datacollator ({roles}):\n{lines}\n{listed(features)}{way}"
        raise UserError(msg)
    mapping = {name: mapping[name] for name in sorted(mapping, key=lambda name: _place(name, roles))}
    rows = rows.select_columns([*mapping.values(), *(name for name in OURS if name in rows.features)])
    renamed = _renamed(rows, {column: name for name, column in mapping.items() if column != name})
    if DAMAGE_COLUMN in renamed.features and hasattr(renamed, "__len__"):
        needed = [name for name in mapping if name in roles.required]
        renamed = settle_damage(renamed, needed, DamageLog(label, on_damaged_row))
    return RoleRows(renamed, tuple(_notes(mapping, features, columns)))


def refuse_unlike_roles(train: Any, held_out: Any, roles: Roles) -> None:
    """Raises UserError where the evaluation rows lack numbers that the training rows have, or where one has text and
    the other token ids, or other labels."""
    faults = []
    for role in roles.values:
        if (role in train.features) != (role in held_out.features):
            has = "the training rows have" if role in train.features else "the evaluation rows have"
            faults.append(f"{has} {role}, the others have not")
        elif role in train.features and is_text(train.features[role]) != is_text(held_out.features[role]):
            types = [type_of(rows.features[role]) for rows in (train, held_out)]
            faults.append(f"{role} is {types[0]} in the training rows, {types[1]} in the evaluation rows")
    if parts_of(train) is None and holds_ids(train, roles) != holds_ids(held_out, roles):
        faults.append("one has texts and the other token ids")
    if faults:
        raise UserError("training and evaluation rows do not fit each other: " + "; ".join(faults))


def columns_of(role: str, rows: Any, roles: Roles) -> list[str]:
    """The columns of prepared rows that belong to a role, in the order in which their texts are joined."""
    found = [name for name in rows.features if name not in OURS and roles.role_of(name) == role]
    return sorted(found, key=lambda name: (name != role, number_of(name)))


def fits(feature: Any, what: Holds) -> bool:
    """Whether a column can be of a role that holds this. Token ids stand for a text."""
    if what == "text":
        return is_text(feature) or is_ids(feature)
    if what == "texts":
        items = inner(feature)
        return is_text(feature) or is_ids(feature) or (items is not None and (is_text(items) or is_ids(items)))
    if what == "int":
        return is_integer(feature) or is_text(feature)
    if what == "float":
        return is_number(feature)
    items = inner(feature)
    return items is not None and is_number(items)


def holds_ids(rows: Any, roles: Roles) -> bool:
    """Whether the texts of prepared rows are token ids already."""
    column = rows.features[columns_of(roles.texts[0] if roles.texts else roles.lists[0], rows, roles)[0]]
    return _is_tokenized(column)


def _is_tokenized(feature: Any) -> bool:
    items = inner(feature)
    return is_ids(feature) or (items is not None and is_ids(items))


def _faults(
    mapping: Mapping[str, str], features: Mapping[str, Any], roles: Roles, rows: Any, *, given: bool
) -> Iterator[str]:
    if given:
        yield from (f"{key}: {why}".replace("\n", "; ") for key, why in mapping_faults(mapping, {}, roles))
        yield from (f"role {name}: role_columns has no column for it" for name in missing_roles(mapping, roles))
    else:
        there = {roles.role_of(name) for name in mapping}
        yield from (f"role {name}: no column of this name" for name in roles.required if name not in there)
        others = [name for name in _texts(features) if name not in mapping]
        if others:
            yield f"text of no role: {', '.join(others)}"
    for name, column in mapping.items():
        if column not in features:
            yield f"role_columns.{name}: no column {column!r}{did_you_mean(column, features)}"
        elif (role := roles.role_of(name)) is not None and not fits(features[column], roles.holding(role)):
            expected = _EXPECTED[roles.holding(role)]
            wrong = other_row(rows, column) if roles.holding(role) == "text" else ""
            yield f"column {column!r} is {type_of(features[column])}, role {role} takes {expected}{wrong}"
    yield from _mixed_faults(mapping, features, roles)


def _mixed_faults(mapping: Mapping[str, str], features: Mapping[str, Any], roles: Roles) -> Iterator[str]:
    """Texts in some columns and token ids in others: one run has one tokenizer."""
    texts = [
        column
        for name, column in mapping.items()
        if column in features and roles.role_of(name) in (*roles.texts, *roles.lists)
    ]
    tokenized = [column for column in texts if _is_tokenized(features[column])]
    if tokenized and len(tokenized) < len(texts):
        others = ", ".join(column for column in texts if column not in tokenized)
        yield f"token ids in {', '.join(tokenized)}, and none in {others}: all roles of text have text, or all have ids"


def _texts(features: Mapping[str, Any]) -> list[str]:
    return [name for name, feature in features.items() if is_text(feature) or is_text(inner(feature))]


def _way(mapping: Mapping[str, str], features: Mapping[str, Any], roles: Roles, said: str, *, given: bool) -> str:
    """The line to write, where columns can be guessed at."""
    waiting = [name for name in _texts(features) if name not in mapping.values()]
    known = {name: column for name, column in mapping.items() if column in features and roles.role_of(name) is not None}
    there = {roles.role_of(name) for name in known}
    for role in roles.required:
        if role not in there and roles.holding(role) in ("text", "texts") and waiting:
            known[role] = waiting.pop(0)
    if given or not known or missing_roles(known, roles):
        return ""
    return f"\nsay which is which, such as: {said} = {_columns_text(known)}"


def _notes(mapping: Mapping[str, str], features: Mapping[str, Any], given: Mapping[str, str]) -> Iterator[str]:
    """What has which role where that is not plain from the names, and what is left out."""
    named = ", ".join(f"{name} = {column}" for name, column in mapping.items())
    others = [name for name in features if name not in mapping.values()]
    if given or others:
        yield f"columns: {named}" + (f"; left out: {', '.join(others)}" if others else "")


def _place(name: str, roles: Roles) -> tuple[int, bool, int]:
    role = roles.role_of(name)
    return roles.names.index(str(role)), name != role, number_of(name)


def _renamed(rows: Any, names: Mapping[str, str]) -> Any:
    """With these columns under these names; two may change places."""
    import datasets

    if not names:
        return rows
    if hasattr(rows, "__len__"):
        return rows.rename_columns(dict(names))
    features = datasets.Features({names.get(name, name): feature for name, feature in rows.features.items()})
    return rows.map(_Rename(names), remove_columns=list(names), features=features)


class _Rename:
    """Renames the columns of a row. Picklable, as datasets have to be."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self.names = dict(names)

    def __call__(self, row: Mapping[str, Any]) -> dict[str, Any]:
        return {self.names.get(name, name): value for name, value in row.items()}


def _columns_text(columns: Mapping[str, str]) -> str:
    """As a recipe has it: ``{ query = "a", positive = "b" }``."""
    return "{ " + ", ".join(f"{role} = {toml_text(column)}" for role, column in columns.items()) + " }"
