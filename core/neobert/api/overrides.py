"""Overrides from Python: a mapping of dotted keys to values, as the command line would say them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any

from neobert.errors import Problem, RecipeError
from neobert.recipe.nodes import Text
from neobert.toml_text import toml_text

Overrides = Mapping[str, object] | Sequence[str]
WHERE = "overrides"


def override_tokens(overrides: Overrides | None) -> list[str]:
    """Tokens for `neobert.recipe.load_recipe`. ``None`` as a value unsets an optional key.

    Of a sequence (``["--trainer.max_steps", "100"]``) nothing is changed. Raises `RecipeError`, with all of them, for
    keys that are no text and values that TOML has no form for.
    """
    if overrides is None:
        return []
    if not isinstance(overrides, Mapping):
        return list(overrides)
    tokens, problems = [], []
    said: Mapping[Any, object] = overrides
    for key, value in said.items():
        if not isinstance(key, str):
            problems.append(
                Problem(WHERE, repr(key), None, "expected a dotted key of the recipe, such as 'trainer.seed'")
            )
            continue
        try:
            tokens.append(f"--{key}={_text(value)}")
        except (TypeError, ValueError) as error:
            message = f"a {type(value).__name__} cannot stand in a recipe: {error}"
            problems.append(Problem(WHERE, key, repr(value), message))
    if problems:
        raise RecipeError(problems)
    return tokens


def _text(value: object) -> str:
    """As a person would type it: text as it stands where it means itself, else quoted."""
    if value is None:
        return "none"
    if isinstance(value, str) and Text(value).value() == value == value.strip() and value not in ("", "none"):
        return value
    return toml_text(_plain(value))


def _plain(value: Any) -> Any:
    """numpy's numbers as Python's own, wherever they stand."""
    if isinstance(value, bool | str):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
