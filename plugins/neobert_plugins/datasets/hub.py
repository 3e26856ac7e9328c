"""Datasets from the hub."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from neobert.errors import UserError
from neobert_plugins.datasets.diagnosis import disk_full
from neobert_plugins.datasets.quiet import bars_on_terminals_only
from neobert_plugins.datasets.tables import NamedTables

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
    if options.streaming:
        for split, rows in loaded.items():
            _name_failures(rows, f"{options.path} ({options.config or 'default'}), split {split}")
    return dict(loaded)


def _name_failures(rows: Any, dataset: str) -> None:
    """What fails while a stream is read names the file, where the library reads it file by file."""
    source: Any = getattr(rows, "_ex_iterable", None)
    if source is not None and hasattr(source, "generate_tables_fn"):
        source.generate_tables_fn = NamedTables(source.generate_tables_fn, dataset)
