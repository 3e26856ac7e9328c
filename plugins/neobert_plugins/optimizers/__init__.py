"""Optimizers: `adamw`, `adam`, `stable_adamw`, and `muon` for the matrices of the blocks."""

from __future__ import annotations

from neobert import hookimpl
from neobert_plugins.optimizers.options import Adam, AdamW, Muon, StableAdamW


@hookimpl
def neobert_optimizers() -> dict[str, type]:
    return {"adamw": AdamW, "adam": Adam, "stable_adamw": StableAdamW, "muon": Muon}
