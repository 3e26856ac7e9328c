"""Which file, and which row of it, cannot be read."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

from neobert.errors import UserError
from neobert.wording import counted
from neobert_plugins.datasets.rows import rows_of


def diagnosis(reader: str, files: list[str], error: Exception) -> str:
    """Looks through the files, once reading has failed, for the one and the row that are at fault."""
    if full := disk_full(error):
        return full
    if (known := next((cause for cause in _causes(error) if isinstance(cause, UserError)), None)) is not None:
        return str(known)  # whoever read it has found them
    for file in files:
        if fault := _fault_in(file, reader):
            return f"{file}: {fault}"
    cause = error.__cause__ or error
    what = f"cannot read {counted(len(files), f'{reader} file')}, the first is {files[0]}"
    return f"{what}\n{type(cause).__name__}: {cause}"


def disk_full(error: BaseException) -> str | None:
    """Where the library's own cache found no room, whatever it wrapped that in."""
    import datasets

    for cause in _causes(error):
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
            return (
                f"no space left in the cache of the `datasets` library, {datasets.config.HF_DATASETS_CACHE}\n"
                "free some, or set HF_DATASETS_CACHE to a folder on another disk"
            )
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, and what it was raised from."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _fault_in(file: str, reader: str) -> str | None:
    if reader == "parquet":
        return _parquet_fault(file)
    for row in rows_of(file, reader) or rows_of(file, "text") or ():
        if row.fault:
            return f"{row.where} {row.fault}"
    return "the file is empty" if Path(file).stat().st_size == 0 else None


def _parquet_fault(file: str) -> str | None:
    import pyarrow
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(file)
    except (pyarrow.ArrowInvalid, OSError) as error:
        return f"not a whole Parquet file: {error}"
    first = 0
    for group in range(table.num_row_groups):
        rows = table.metadata.row_group(group).num_rows
        try:
            table.read_row_group(group)
        except (pyarrow.ArrowInvalid, OSError) as error:
            return f"rows {first + 1} to {first + rows} cannot be read: {error}"
        first += rows
    return None
