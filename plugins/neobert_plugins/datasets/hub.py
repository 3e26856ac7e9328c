"""Datasets from the hub."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from neobert.errors import UserError
from neobert_plugins.datasets.diagnosis import disk_full
from neobert_plugins.datasets.quiet import bars_on_terminals_only

if TYPE_CHECKING:
    from neobert_plugins.datasets.options import Hub


def read(options: Hub, said: str = "dataset.path") -> dict[str, Any]:
    """All splits of the dataset; ``said`` is the key or flag that names it.

    Raises UserError with the library's reason where it cannot be had.
    """
    import datasets

    try:
        with bars_on_terminals_only():
            loaded = datasets.load_dataset(
                options.path, options.config, revision=options.revision, streaming=options.streaming
            )
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        if full := disk_full(error):
            raise UserError(full) from error
        which = options.path if options.config is None else f"{options.path} ({options.config})"
        msg = f"{said} = {which!r} cannot be had from the hub: {type(error).__name__}: {error}"
        raise UserError(msg) from error
    return dict(loaded)
