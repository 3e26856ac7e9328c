"""What kind of value each column of JSON lines holds, so that one of another kind is found, and its row named."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from neobert_plugins.datasets.rows import Row

_KINDS = {str: "string", bool: "boolean", int: "number", float: "number", list: "list", dict: "object"}
_STRINGS = ("string", "large_string", "string_view")


class Kinds:
    """Of each column: as its type says where that is known and a string, else as most of the first rows have it, else
    as its first value."""

    def __init__(self, features: Mapping[str, Any] | None, rows: Iterable[Row]) -> None:
        counts: dict[str, Counter[str]] = {}
        for row in rows:
            for name, value in (row.value or {}).items():
                if value is not None:
                    counts.setdefault(name, Counter())[_KINDS[type(value)]] += 1
        self._known = features
        self._kinds = {name: found.most_common(1)[0][0] for name, found in counts.items()}
        for name, feature in (features or {}).items():
            if getattr(feature, "dtype", None) in _STRINGS:
                self._kinds[name] = "string"

    def fit(self, row: Row) -> Row:
        """The row without values of another kind, which are its fault, and without columns that the data has not."""
        if row.value is None:
            return row
        kept, faults = {}, []
        for name, value in row.value.items():
            if self._known is not None and name not in self._known:
                continue
            kind = None if value is None else _KINDS[type(value)]
            if kind is None or self._kinds.setdefault(name, kind) == kind:
                kept[name] = value
            else:
                faults.append(f"has a {kind} as {name}, {json.dumps(value)[:40]}; others have a {self._kinds[name]}")
        return Row(row.where, kept, " and ".join(faults) or None)
