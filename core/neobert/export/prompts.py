"""What was put before each role's texts in training, under the names that sentence-transformers looks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from neobert.recipe import Recipe

NAMES = {"query": "query", "positive": "document"}
"""Role -> the prompt that ``encode_query`` and ``encode_document`` take."""


@frozen
class Prompts:
    """Texts that belong before others, by name."""

    by_name: Mapping[str, str]
    default: str | None = None
    """The name of the one that every text gets unless told otherwise; None: none does."""

    def of(self, name: str) -> str:
        """The prompt for texts of this kind: its own where there is one, else the default, else nothing."""
        if name in self.by_name:
            return self.by_name[name]
        return "" if self.default is None else self.by_name[self.default]


def prompts_of(recipe: Recipe) -> Prompts:
    """From ``dataset.role_prefixes``, and those of a mixture's sources where they have others, as ``SOURCE/NAME``.

    Where every text role of the datacollator has the same one, it is the default.
    """
    prefixes: Mapping[str, str] = recipe.dataset.role_prefixes
    by_name = {_name(role): text for role, text in prefixes.items()}
    common = _common(recipe, prefixes)
    default = next((name for name, text in by_name.items() if text == common), None) if common else None
    for source, own in _of_sources(recipe).items():
        by_name |= {f"{source}/{_name(role)}": text for role, text in own.items() if prefixes.get(role) != text}
    return Prompts(by_name, default)


def _name(role: str) -> str:
    return NAMES.get(role, role)


def _common(recipe: Recipe, prefixes: Mapping[str, str]) -> str | None:
    """The one prefix that all roles of single texts have, of the roles that the datacollator must get."""
    roles = getattr(recipe.datacollator.options, "roles", None)
    texts = [role for role in roles.required if role in roles.texts] if roles is not None else list(prefixes)
    found = {prefixes.get(role, "") for role in texts}
    return found.pop() if len(found) == 1 else None


def _of_sources(recipe: Recipe) -> dict[str, Mapping[str, str]]:
    describe: Any = getattr(recipe.dataset.options, "mixture", None)
    if not callable(describe):
        return {}
    return {source.name: source.prefixes for source in describe().sources}
