"""Values of several objectives in one mapping, each under ``NAME/``; of a run with one objective under no prefix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")


def prefix_of(objective: str) -> str:
    """What the keys of an objective begin with; nothing where there is one, whose name is empty."""
    return f"{objective}/" if objective else ""


def named(objective: str, values: Mapping[str, T]) -> dict[str, T]:
    """The values of one objective, as they stand among those of all."""
    return {prefix_of(objective) + key: value for key, value in values.items()}


def own(objective: str, values: Mapping[str, T]) -> dict[str, T]:
    """Of the values of all objectives, those of one under their plain keys."""
    prefix = prefix_of(objective)
    return {key.removeprefix(prefix): value for key, value in values.items() if key.startswith(prefix)}
