"""Collators: sequences to a batch."""

from __future__ import annotations

from neobert import hookimpl
from neobert_plugins.collators.options import MaskedLM
from neobert_plugins.collators.role_options import Labelled, Pairs, ScoredPairs, Sentences


@hookimpl
def neobert_datacollators() -> dict[str, type]:
    """The built-in collators."""
    return {"labelled": Labelled, "mlm": MaskedLM, "pairs": Pairs, "scored_pairs": ScoredPairs, "sentences": Sentences}
