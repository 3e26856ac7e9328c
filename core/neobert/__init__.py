"""neobert: train BERT-style text encoders from parts that plugins provide.

The public API is what ``__all__`` lists. Importing the package is light: names that need torch are resolved when
they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from neobert.capabilities import AttentionNeeds, Capabilities
from neobert.context import BuildContext, FusedMatrix, ParameterGroup
from neobert.errors import NotBuiltError, RecipeError, UserError
from neobert.hookspecs import hookimpl
from neobert.interfaces import LossOutput, PredictionHead, SentenceHead
from neobert.mixture import Mixture, MixtureSource
from neobert.parts import Part, part
from neobert.roles import Roles

if TYPE_CHECKING:
    from neobert.batch import Batch, SequenceLayout

__all__ = [
    "AttentionNeeds",
    "Batch",
    "BuildContext",
    "Capabilities",
    "FusedMatrix",
    "LossOutput",
    "Mixture",
    "MixtureSource",
    "NotBuiltError",
    "ParameterGroup",
    "Part",
    "PredictionHead",
    "RecipeError",
    "Roles",
    "SentenceHead",
    "SequenceLayout",
    "UserError",
    "hookimpl",
    "part",
]

_NEEDS_TORCH = {"Batch": "neobert.batch", "SequenceLayout": "neobert.batch"}


def __getattr__(name: str) -> Any:
    if name in _NEEDS_TORCH:
        return getattr(import_module(_NEEDS_TORCH[name]), name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    return sorted(__all__)
