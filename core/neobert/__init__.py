"""neobert: train BERT-style text encoders from parts that plugins provide.

The public API is what ``__all__`` lists. Importing the package is light: what needs torch, or is not for plugins, is
imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from neobert import deprecation
from neobert.capabilities import AttentionNeeds, Capabilities
from neobert.context import BuildContext, FusedMatrix, ParameterGroup
from neobert.deprecation import PluginDeprecationWarning
from neobert.errors import NotBuiltError, RecipeError, UserError
from neobert.hookspecs import hookimpl
from neobert.interfaces import LossOutput, PredictionHead, SentenceHead
from neobert.mixture import Mixture, MixtureSource
from neobert.parts import Part, part
from neobert.roles import Roles

if TYPE_CHECKING:
    from neobert.api.encoder import TextEncoder
    from neobert.api.loading import LoadedModel, load
    from neobert.api.metrics import Metrics, Series
    from neobert.api.result import Run
    from neobert.api.running import RunInterrupted, run
    from neobert.batch import Batch, SequenceLayout

__all__ = [
    "AttentionNeeds",
    "Batch",
    "BuildContext",
    "Capabilities",
    "FusedMatrix",
    "LoadedModel",
    "LossOutput",
    "Metrics",
    "Mixture",
    "MixtureSource",
    "NotBuiltError",
    "ParameterGroup",
    "Part",
    "PluginDeprecationWarning",
    "PredictionHead",
    "RecipeError",
    "Roles",
    "Run",
    "RunInterrupted",
    "SentenceHead",
    "SequenceLayout",
    "Series",
    "TextEncoder",
    "UserError",
    "hookimpl",
    "load",
    "part",
    "run",
]

_HOME = {
    "Batch": "batch",
    "LoadedModel": "api.loading",
    "Metrics": "api.metrics",
    "Run": "api.result",
    "RunInterrupted": "api.running",
    "SequenceLayout": "batch",
    "Series": "api.metrics",
    "TextEncoder": "api.encoder",
    "load": "api.loading",
    "run": "api.running",
}
"""What needs more than a plugin's module does -> where it is."""


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"neobert.{_HOME[name]}"), name)
    if name in deprecation.NAMES:
        place, deprecated = deprecation.NAMES[name]
        deprecated.warn()
        module, _, attribute = place.partition(":")
        return getattr(import_module(module), attribute)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    return sorted(__all__)
