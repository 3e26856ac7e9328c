"""Collators: sequences to a batch."""

from __future__ import annotations

from neobert import hookimpl
from neobert_plugins.collators.options import MaskedLM


@hookimpl
def neobert_datacollators() -> dict[str, type]:
    """The built-in collators."""
    return {"mlm": MaskedLM}
