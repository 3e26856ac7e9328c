"""The engine of losses that compare sequences: pooling, chunks, candidates of other ranks, work in blocks.

A loss of this kind inherits `EmbeddingLoss` and says what it makes of embeddings; its options class inherits
`EmbeddingOptions`, whose keys it then has. Neither is asked for: what the core looks at are the methods and class
variables that docs/losses.md lists. Names that need torch are resolved when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from neobert.contrast.options import EmbeddingOptions

if TYPE_CHECKING:
    from neobert.contrast.blocks import sum_in_blocks
    from neobert.contrast.embedder import Embedder
    from neobert.contrast.loss import EmbeddingLoss
    from neobert.contrast.ranks import Rows, gathered, own
    from neobert.contrast.temperature import Temperature

__all__ = [
    "Embedder",
    "EmbeddingLoss",
    "EmbeddingOptions",
    "Rows",
    "Temperature",
    "gathered",
    "own",
    "sum_in_blocks",
]

_HOME = {
    "Embedder": "embedder",
    "EmbeddingLoss": "loss",
    "Rows": "ranks",
    "Temperature": "temperature",
    "gathered": "ranks",
    "own": "ranks",
    "sum_in_blocks": "blocks",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"neobert.contrast.{_HOME[name]}"), name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    return sorted(__all__)
