"""How one recipe differs from another: what a resumed run shows before it goes on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from attrs import frozen

from neobert.toml_text import toml_text

if TYPE_CHECKING:
    from neobert.recipe.tree import Recipe


@frozen
class Change:
    """One dotted key whose value differs. None stands for a key that is unset or absent."""

    key: str
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{self.key}: {_shown(self.old)} -> {_shown(self.new)}"


def compare(old: Recipe | Mapping[str, Any], new: Recipe | Mapping[str, Any]) -> list[Change]:
    """Every key that differs, in the order of the new recipe, then those that only the old one has.

    Paths of recipes are compared absolute; a mapping is compared as it is (``recipe.flat(absolute=True)``).
    """
    before, after = _flat(old), _flat(new)
    keys = [*after, *(key for key in before if key not in after)]
    pairs = ((key, before.get(key), after.get(key)) for key in keys)
    return [Change(key, was, now) for key, was, now in pairs if was != now or type(was) is not type(now)]


def _flat(recipe: Recipe | Mapping[str, Any]) -> Mapping[str, Any]:
    return recipe if isinstance(recipe, Mapping) else recipe.flat(absolute=True)


def _shown(value: Any) -> str:
    return "unset" if value is None else toml_text(value)
