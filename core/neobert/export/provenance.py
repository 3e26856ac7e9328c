"""``provenance.json`` of an export: what made it. Nothing of the machine or the person."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from neobert.libraries import versions
from neobert.recipe import Recipe

FILE = "provenance.json"


@frozen(kw_only=True)
class Origin:
    """The step of a run that is exported."""

    step: int
    tokens_seen: int
    data_fingerprint: str
    """Of the rows that were trained on, in their order."""
    tokenizer_fingerprint: str
    averaged: bool = False
    """Whether the weights are the moving average (``trainer.ema``)."""
    evaluations: Mapping[str, Mapping[str, float]] = field(factory=dict)
    """The run's own results, by when they were measured."""


def provenance(recipe: Recipe, origin: Origin | None) -> dict[str, Any]:
    """JSON values: versions, the recipe's sum, where each part came from; with ``origin``, step and data too."""
    said: dict[str, Any] = {
        "made_by": "neobert",
        "libraries": dict(versions()),
        "recipe": "recipe.toml",
        "recipe_sha256": hashlib.sha256(recipe.to_toml().encode()).hexdigest(),
        "plugins": {f"{part.kind}.{part.name}": part.distribution for _, part in recipe.parts()},
    }
    if origin is not None:
        said |= {
            "step": origin.step,
            "tokens_seen": origin.tokens_seen,
            "weights": "averaged" if origin.averaged else "trained",
            "data_fingerprint": origin.data_fingerprint,
            "tokenizer_fingerprint": origin.tokenizer_fingerprint,
        }
    return said
