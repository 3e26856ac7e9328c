"""Which file, and which row of it, cannot be read."""

from __future__ import annotations

import bz2
import csv
import errno
import gzip
import io
import json
import lzma
import zlib
from pathlib import Path
from typing import IO, Any


def diagnosis(reader: str, files: list[str], error: Exception) -> str:
    """Looks through the files, once reading has failed, for the one and the row that are at fault."""
    if full := disk_full(error):
        return full
    for file in files:
        if fault := _fault_in(file, reader):
            return f"{file}: {fault}"
    cause = error.__cause__ or error
    return f"cannot read {len(files)} {reader} files, the first is {files[0]}\n{type(cause).__name__}: {cause}"


def disk_full(error: BaseException) -> str | None:
    """Where the library's own cache found no room, whatever it wrapped that in."""
    import datasets

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
            return (
                f"no space left in the cache of the `datasets` library, {datasets.config.HF_DATASETS_CACHE}\n"
                "free some, or set HF_DATASETS_CACHE to a folder on another disk"
            )
        cause = cause.__cause__ or cause.__context__
    return None


def _fault_in(file: str, reader: str) -> str | None:
    if reader == "parquet":
        return _parquet_fault(file)
    json_lines = reader == "json" and ".json" not in Path(file).suffixes
    try:
        with _open(file) as lines:
            for row, line in enumerate(lines, start=1):
                if fault := _line_fault(line, json_lines):
                    return f"row {row} {fault}"
        if reader == "csv" and (fault := _csv_fault(file)):
            return fault
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        return f"cannot be read to its end: {error}"
    return "the file is empty" if Path(file).stat().st_size == 0 else None


def _open(file: str) -> IO[bytes]:
    suffix = Path(file).suffix
    if suffix == ".zst":
        return io.BytesIO()  # no reader of it comes with Python
    opener: Any = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}.get(suffix, open)
    opened: IO[bytes] = opener(file, "rb")
    return opened


def _line_fault(line: bytes, json_lines: bool) -> str | None:
    try:
        text = line.decode("utf-8")
        if json_lines and text.strip():
            json.loads(text)
    except UnicodeDecodeError as error:
        return f"is not UTF-8: byte {line[error.start]:#04x} at {error.start}"
    except json.JSONDecodeError as error:
        return f"is not JSON: {error.msg} at column {error.colno}"
    return None


def _csv_fault(file: str) -> str | None:
    """A quote that is opened and never closed: the file ends in the middle of that row."""
    row, line = 1, 1
    with _open(file) as raw:
        reader = csv.reader(io.TextIOWrapper(raw, encoding="utf-8", newline=""), strict=True)
        try:
            for _ in reader:
                row, line = row + 1, reader.line_num + 1
        except csv.Error as error:
            return f"row {row}, which begins in line {line}, is not CSV: {error}"
    return None


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
