"""Datasets: rows of text, or of token ids."""

from __future__ import annotations

from neobert import hookimpl
from neobert_plugins.datasets.mix_options import Mix
from neobert_plugins.datasets.options import Disk, Files, Hub
from neobert_plugins.datasets.stdlib_options import StandardLibrary
from neobert_plugins.datasets.stdlib_pairs_options import StandardLibraryPairs


@hookimpl
def neobert_datasets() -> dict[str, type]:
    """The built-in datasets."""
    return {
        "disk": Disk,
        "files": Files,
        "hub": Hub,
        "mix": Mix,
        "stdlib": StandardLibrary,
        "stdlib_pairs": StandardLibraryPairs,
    }
