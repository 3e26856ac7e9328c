"""The libraries that every run needs: imported in one go, and their versions."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from functools import cache
from importlib import import_module, metadata
from types import MappingProxyType

LIBRARIES = (
    "torch",
    "accelerate",
    "datasets",
    "transformers.tokenization_utils_tokenizers",
    "torch._dynamo",
    "neobert.training.run",
)
"""torch's own optimizers import ``torch._dynamo`` when they are built."""

TOLD = ("neobert", "torch", "transformers", "datasets", "accelerate", "tokenizers", "safetensors", "numpy")
"""What a result may depend on."""


@cache
def versions() -> Mapping[str, str]:
    """Of what a result may depend on, by distribution. Read once: every save of a run tells them."""
    return MappingProxyType({name: metadata.version(name) for name in TOLD})


def import_libraries() -> None:
    """Imports them without garbage collection, which would walk over the same new modules again and again.

    What they make lives as long as the process, and there is nothing to collect: a fifth of the start is saved.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        for name in LIBRARIES:
            import_module(name)
    finally:
        if collecting:
            gc.enable()
