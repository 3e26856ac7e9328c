"""Collators: sequences to a batch."""

from __future__ import annotations

from neobert import hookimpl
from neobert_plugins.collators.options import MaskedLM
from neobert_plugins.collators.role_options import (
    JoinedLabelled,
    JoinedScored,
    Labelled,
    Pairs,
    Scored,
    ScoredPairs,
    Sentences,
)


@hookimpl
def neobert_datacollators() -> dict[str, type]:
    """The built-in collators."""
    return {
        "joined_labelled": JoinedLabelled,
        "joined_scored": JoinedScored,
        "labelled": Labelled,
        "mlm": MaskedLM,
        "pairs": Pairs,
        "scored": Scored,
        "scored_pairs": ScoredPairs,
        "sentences": Sentences,
    }
