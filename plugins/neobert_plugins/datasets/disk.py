"""Datasets saved by the `datasets` library."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from neobert.errors import UserError

if TYPE_CHECKING:
    from neobert_plugins.datasets.options import Disk


def read(options: Disk, said: str = "dataset.path") -> dict[str, Any]:
    """The splits in the folder; ``said`` is the key or flag that names it.

    Raises UserError where it is none, or is damaged.
    """
    import datasets

    folder = Path(options.path).expanduser()
    if not folder.is_dir():
        msg = f"{said} = {options.path!r}: no such folder (from {Path.cwd()})"
        raise UserError(msg)
    if not any((folder / name).is_file() for name in ("dataset_info.json", "dataset_dict.json")):
        msg = (
            f"{said} = {options.path!r} was not written by save_to_disk: "
            "it has no dataset_info.json or dataset_dict.json\n"
            "for text, JSON lines, CSV or Parquet files name the dataset `files`"
        )
        raise UserError(msg)
    try:
        loaded = datasets.load_from_disk(str(folder), keep_in_memory=False)
    except IndexError as error:  # what the library says where there is no file of rows
        msg = f"{said} = {options.path!r} is empty: it was saved without a row"
        raise UserError(msg) from error
    except (OSError, ValueError, KeyError) as error:
        msg = f"{said} = {options.path!r} cannot be read: {type(error).__name__}: {error}"
        raise UserError(msg) from error
    return dict(loaded) if isinstance(loaded, datasets.DatasetDict) else {"train": loaded}
