"""The texts of a dataset, in batches that take about as long as each other."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

from neobert.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

ROWS_A_BLOCK = 1000
"""Rows that are read at once."""
BYTES_A_BATCH = 1_000_000
"""Text that is encoded at once, unless one document alone is longer: a tenth of a second of two cores."""


def text_batches(rows: Any, label: str) -> Iterator[tuple[int, list[str | None]]]:
    """(number of the first row, texts) of a ``datasets.Dataset`` with ``text``, all rows in order.

    Raises UserError with the row where bytes are not UTF-8: Arrow files may hold any.
    """
    place = files_of(rows)
    for first in range(0, len(rows), ROWS_A_BLOCK):
        column = text_column(rows, first)
        ends = np.cumsum(text_sizes(column).clip(min=0))
        start = 0
        while start < len(column):
            done = int(ends[start - 1]) if start else 0
            stop = max(start + 1, int(np.searchsorted(ends, done + BYTES_A_BATCH, side="right")))
            yield first + start, python_values(column.slice(start, stop - start), first + start, label, place)
            start = stop


def text_column(rows: Any, first: int) -> Any:
    """A block of rows from ``first`` on, as an Arrow array."""
    return rows.with_format("arrow")[first : min(first + ROWS_A_BLOCK, len(rows))].column("text")


def text_sizes(column: Any) -> NDArray[np.int64]:
    """(rows,) bytes of each text, -1 where there is none."""
    import pyarrow.compute as pc

    sizes: NDArray[np.int64] = pc.fill_null(pc.binary_length(column), -1).to_numpy().astype(np.int64)
    return sizes


def digest_of(array: Any, digest: Any) -> None:
    """Adds an Arrow array's content to a hash: texts, numbers, or lists of either, however it is laid out."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_list(array.type) or pa.types.is_large_list(array.type) or pa.types.is_fixed_size_list(array.type):
        digest.update(pc.fill_null(pc.list_value_length(array), -1).cast(pa.int64()).to_numpy().tobytes())
        digest_of(array.flatten(), digest)
    elif pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        digest.update(text_sizes(array).tobytes())
        digest.update(_bytes_of(array.drop_null()))
    else:
        wide = pa.float64() if pa.types.is_floating(array.type) else pa.int64()
        digest.update(array.is_valid().to_numpy(zero_copy_only=False).tobytes())
        digest.update(array.drop_null().cast(wide).to_numpy().tobytes())


def content_digest(rows: Any) -> tuple[str, int]:
    """A digest of every text, however the table is laid out in memory, and the size of all in bytes."""
    import pyarrow.compute as pc

    digest = hashlib.blake2b(digest_size=16)
    size = 0
    for first in range(0, len(rows), ROWS_A_BLOCK):
        column = text_column(rows, first)
        sizes = text_sizes(column)
        digest.update(sizes.tobytes())
        for text in pc.drop_null(column).chunks:
            digest.update(_bytes_of(text))
        size += int(sizes[sizes > 0].sum())
    return digest.hexdigest(), size


def python_values(column: Any, first: int, label: str, place: str) -> list[Any]:
    """An Arrow array of texts, or of lists of them, as Python has them; ``place`` is a line that says where they are.

    Raises UserError with the row where bytes are not UTF-8.
    """
    try:
        values: list[Any] = column.to_pylist()
    except UnicodeDecodeError:
        for row in range(len(column)):
            try:
                column[row].as_py()
            except UnicodeDecodeError as error:
                msg = f"row {first + row} of {label} is not UTF-8: {_fault(error)}{place}"
                raise UserError(msg) from error
        raise
    return values


def _fault(error: UnicodeDecodeError) -> str:
    return f"byte {error.object[error.start]:#04x} at {error.start} of its text"


def files_of(rows: Any) -> str:
    """A line that says where the rows of a ``datasets.Dataset`` are; nothing where they are in memory."""
    files = [file["filename"] for file in rows.cache_files]
    return (
        f"\nit is in {files[0]}" + (f" or in another of its {len(files)} files" if files[1:] else "") if files else ""
    )


def _bytes_of(array: Any) -> memoryview:
    """The UTF-8 bytes of an Arrow string array without nulls, end to end."""
    import pyarrow as pa

    binary = array.cast(pa.large_string())
    _, offsets, data = binary.buffers()
    if data is None:
        return memoryview(b"")
    bounds = np.frombuffer(offsets, dtype=np.int64)[binary.offset : binary.offset + len(binary) + 1]
    return memoryview(data)[int(bounds[0]) : int(bounds[-1])]
