"""Schedules of the learning rate: warm-up, then `cosine`, `linear`, `constant`, `wsd` or `inverse_sqrt`."""

from __future__ import annotations

from neobert import hookimpl
from neobert_plugins.schedulers.options import Constant, Cosine, InverseSquareRoot, Linear, WarmupStableDecay


@hookimpl
def neobert_schedulers() -> dict[str, type]:
    return {
        "cosine": Cosine,
        "linear": Linear,
        "constant": Constant,
        "wsd": WarmupStableDecay,
        "inverse_sqrt": InverseSquareRoot,
    }
