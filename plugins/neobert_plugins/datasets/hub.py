"""Datasets from the hub."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from neobert.errors import UserError
from neobert_plugins.datasets.quiet import bars_on_terminals_only

if TYPE_CHECKING:
    from neobert_plugins.datasets.options import Hub


def read(options: Hub) -> dict[str, Any]:
    """All splits of the dataset. Raises UserError with the library's reason where it cannot be had."""
    import datasets

    try:
        with bars_on_terminals_only():
            loaded = datasets.load_dataset(
                options.path, options.config, revision=options.revision, streaming=options.streaming
            )
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        which = options.path if options.config is None else f"{options.path} ({options.config})"
        msg = f"dataset.path = {which!r} cannot be had from the hub: {type(error).__name__}: {error}"
        raise UserError(msg) from error
    return dict(loaded)
