"""Folders of token ids that `datasets.load_from_disk` opens, written row block by row block."""

from __future__ import annotations

import errno
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from neobert.errors import UserError
from neobert.files import write_json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from neobert.data.sequences import SpecialTokens

IDS, MASK = "input_ids", "special_tokens_mask"


class RowWriter:
    """An open Arrow file of rows of ids, and where asked for of masks that mark special tokens with 1."""

    def __init__(self, stream: Any, schema: Any, special: SpecialTokens) -> None:
        self._stream, self._schema, self._special = stream, schema, special
        self.rows = 0
        self.tokens = 0
        """Special tokens included."""

    def write(self, ids: NDArray[np.integer[Any]], lengths: NDArray[np.int64]) -> None:
        """Rows of these ids end to end, with the special tokens put around each."""
        import pyarrow as pa

        values, is_special, bounds = with_special(ids, lengths, self._special)
        offsets = pa.array(bounds.astype(np.int32))
        columns = {IDS: values, MASK: is_special}
        arrays = [pa.ListArray.from_arrays(offsets, pa.array(columns[name])) for name in self._schema.names]
        self._stream.write_batch(pa.record_batch(arrays, schema=self._schema))
        self.rows += len(lengths)
        self.tokens += len(values)


@contextmanager
def row_writer(file: Path, special: SpecialTokens, *, mask: bool = False) -> Iterator[RowWriter]:
    """Writes ``file``. Raises UserError where the disk is full."""
    import pyarrow as pa

    schema = pa.schema({IDS: pa.list_(pa.int32())} | ({MASK: pa.list_(pa.int8())} if mask else {}))
    with arrow_file(file, schema) as stream:
        yield RowWriter(stream, schema, special)


@contextmanager
def arrow_file(file: Path, schema: Any) -> Iterator[Any]:
    """An Arrow stream into ``file``. Raises UserError where the disk is full."""
    import pyarrow as pa

    try:
        with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_stream(sink, schema) as stream:
            yield stream
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            msg = f"no space left to write token ids into {file.parent.parent}; what is whole there is kept"
            raise UserError(msg) from error
        raise


def with_special(
    ids: NDArray[np.integer[Any]], lengths: NDArray[np.int64], special: SpecialTokens
) -> tuple[NDArray[np.int32], NDArray[np.int8], NDArray[np.int64]]:
    """All ids end to end with special tokens around each row, 1 where one is, and the bounds (rows + 1,)."""
    bounds = np.concatenate(([0], np.cumsum(lengths + special.count)))
    is_special = np.zeros(int(bounds[-1]), dtype=np.int8)
    values = np.empty(len(is_special), dtype=np.int32)
    for place, token in enumerate(special.prefix):
        is_special[bounds[:-1] + place] = 1
        values[bounds[:-1] + place] = token
    for place, token in enumerate(reversed(special.suffix), start=1):
        is_special[bounds[1:] - place] = 1
        values[bounds[1:] - place] = token
    values[is_special == 0] = ids
    return values, is_special, bounds


def complete_folder(
    folder: Path, files: list[str], fingerprint: str, types: dict[str, Any] | None = None, *, mask: bool = False
) -> None:
    """Makes a folder of Arrow files from `row_writer`, or of other ``types``, one that `load_from_disk` opens."""
    import datasets

    if types is None:
        types = {IDS: datasets.List(datasets.Value("int32"))}
        if mask:
            types[MASK] = datasets.List(datasets.Value("int8"))
    datasets.DatasetInfo(features=datasets.Features(types)).write_to_directory(str(folder))
    state: dict[str, Any] = {
        "_data_files": [{"filename": name} for name in files],
        "_fingerprint": fingerprint,
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": None,
    }
    write_json(folder / "state.json", state)
