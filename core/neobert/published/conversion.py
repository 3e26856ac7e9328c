"""What became of a file's settings."""

from __future__ import annotations

from typing import Any

from attrs import define, field, frozen

from neobert.recipe.moved import published


@frozen
class Line:
    """What became of one setting."""

    key: str
    value: Any
    why: str
    """A key here, or the reason that there is none."""


@define
class Conversion:
    """The keys of a recipe, and what there is to say of each setting."""

    keys: dict[str, Any] = field(factory=dict)
    same: list[str] = field(factory=list)
    turned: list[Line] = field(factory=list)
    defaults: list[Line] = field(factory=list)
    """Left out of the file: the published default."""
    always: list[Line] = field(factory=list)
    """What the published code does without a setting."""
    without: list[Line] = field(factory=list)
    """No counterpart."""
    unknown: list[Line] = field(factory=list)
    """No setting of the published code."""

    def leave_out(self, key: str, why: str) -> None:
        """Takes back a key that is refused here."""
        value, setting = self.keys.pop(key), published().get(key)
        for lines in (self.turned, self.defaults, self.always):
            lines[:] = [line for line in lines if key not in (line.key, line.why.partition(" = ")[0])]
        self.same = [name for name in self.same if name != key]
        more = f"; {setting.said}" if setting is not None and setting.text else ""
        self.without.append(Line(key, value, f"refused here: {why}{more}"))
