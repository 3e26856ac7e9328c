"""Settings of the published NeoBERT training tools: what they are here. One table, in published.toml.

The strict check refuses a key that has another place, or none, like any unknown one, and adds the table's text: where
to go instead. docs/coming_from_neobert.md has the same table, and `neobert.published` converts by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import tomli
from attrs import field, frozen

TABLE = Path(__file__).with_name("published.toml")
THE_SAME = "the same"


@frozen(kw_only=True)
class Setting:
    """One of them, as published.toml explains."""

    same: bool = False
    text: str = ""
    to: str | None = None
    rank: int = 1
    values: Mapping[str, str] = field(factory=dict)
    adds: Mapping[str, str] = field(factory=dict)
    default: Any = None

    @property
    def said(self) -> str:
        """What people are told of it."""
        return f"{THE_SAME}{self.text}" if self.same else self.text


@cache
def published() -> dict[str, Setting]:
    """Dotted key there (or table) -> what it is here."""
    return {key: Setting(**row) for key, row in _table()["settings"].items()}


@cache
def always() -> dict[str, Any]:
    """Dotted key here -> what the published code does without a setting of its own."""
    return dict(_table()["always"])


@cache
def with_muonclip() -> dict[str, dict[str, Any]]:
    """What goes with that optimizer: ``copies`` (key here -> the key whose value it takes) and ``unless_unclipped``."""
    return dict(_table()["muonclip"])


@cache
def moved() -> dict[str, str]:
    """Those that are no keys here -> where they are now, in words that follow "unknown key"."""
    return {key: setting.text for key, setting in published().items() if not setting.same}


def _table() -> dict[str, Any]:
    return tomli.loads(TABLE.read_text(encoding="utf-8"))


RENAMED: dict[str, str] = {
    "trainer.on_nonfinite_gradient": "`trainer.guard.action`, which has the same words",
}
"""The same of keys that this tool had itself before its first release."""
