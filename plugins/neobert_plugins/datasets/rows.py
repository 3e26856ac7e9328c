"""Files read row by row, for those that a library's reader refuses as a whole."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from attrs import frozen

from neobert.errors import UserError

READ_ERRORS = (OSError, EOFError, zlib.error, lzma.LZMAError)
"""What reading raises where a file, or its compression, ends too soon or is damaged."""
_LINES_LOOKED_AT = 100


@frozen(eq=False)
class Row:
    """One row of a file, or what is wrong with it."""

    where: str
    """`row 3`."""
    value: Any = None
    """A text, a JSON line's object, or a CSV row's fields; None where it cannot be read."""
    fault: str | None = None
    """`is not UTF-8: ...`."""


def rows_of(file: str, reader: str, *, text_unit: str = "line", separator: str = ",") -> Iterator[Row] | None:
    """Every row, in the order and number in which the library has them; None where such a file has no rows to skip:
    Parquet, JSON that is no JSON lines, and compression that Python does not read."""
    if Path(file).suffix == ".zst" or reader == "parquet" or (reader == "json" and not _is_json_lines(file)):
        return None
    if reader == "json":
        return _guarded(file, _json_rows(file))
    if reader == "csv":
        return _guarded(file, _csv_rows(file, separator))
    return _guarded(file, _text_rows(file, text_unit))


def open_bytes(file: str) -> IO[bytes]:
    """A file's content, decompressed."""
    opener: Any = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}.get(Path(file).suffix, open)
    opened: IO[bytes] = opener(file, "rb")
    return opened


def _guarded(file: str, rows: Iterator[Row]) -> Iterator[Row]:
    """What cannot be read to its end has one row more, which is damaged. Raises UserError where the system refuses
    the file: another time it may give it, so nothing of it is skipped."""
    read = 0
    try:
        for row in rows:
            yield row
            read += 1
    except READ_ERRORS as error:
        if isinstance(error, OSError) and error.errno is not None:
            msg = f"{file}: row {read + 1} cannot be read: {error.strerror}"
            raise UserError(msg) from error
        yield Row(f"row {read + 1}", fault=f"cannot be read, nor what follows: {error}")


def _is_json_lines(file: str) -> bool:
    """One object a line; else it is one value over all of them, which is read whole or not at all."""
    try:
        with open_bytes(file) as lines:
            for _, line in zip(range(_LINES_LOOKED_AT), lines, strict=False):
                start = line.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
                if start == b"[" or (start and ".json" not in Path(file).suffixes):
                    return start != b"["
                if isinstance(_json_row(line, 1).value, dict):
                    return True
    except READ_ERRORS:
        return ".json" not in Path(file).suffixes
    return False


def _json_rows(file: str) -> Iterator[Row]:
    with open_bytes(file) as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield _json_row(line, number)


def _json_row(line: bytes, number: int) -> Row:
    where = f"row {number}"
    try:
        value = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
    except UnicodeDecodeError as error:
        return Row(where, fault=not_utf8(error))
    except (json.JSONDecodeError, RecursionError) as error:
        what = f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else "nested too deep"
        return Row(where, fault=f"is not JSON: {what}")
    if not isinstance(value, dict):
        return Row(where, fault=f"is a JSON {type(value).__name__}, not an object")
    return Row(where, value)


def _text_rows(file: str, unit: str) -> Iterator[Row]:
    """As the library splits them: lines end at any newline, paragraphs at two, and empty ones are none."""
    with _open_text(file) as lines:
        if unit == "line":
            texts: Iterator[str] = (line.rstrip("\n") for line in lines)
        elif unit == "paragraph":
            texts = (text for text in lines.read().split("\n\n") if text)
        else:
            texts = iter([lines.read()])
        for number, text in enumerate(texts, start=1):
            fault = _undecoded(text)
            yield Row(f"row {number}", text if fault is None else None, fault)


def _csv_rows(file: str, separator: str) -> Iterator[Row]:
    """The header first, then each row with as many fields, blank lines left out. Numbers begin after the header."""
    csv.field_size_limit(sys.maxsize)
    lines = _Lines(_open_text(file, newline=""))
    with lines.stream:
        reader = csv.reader(lines, delimiter=separator)
        columns, number = 0, 0
        for fields in reader:
            taken = lines.take()
            if not fields:
                continue
            columns = columns or len(fields)
            fault = _csv_fault(fields, columns, taken, separator)
            where = f"row {number} (line {lines.number - len(taken) + 1})"
            yield Row(where, None if fault else fields + [""] * (columns - len(fields)), fault)
            number += 1


def _csv_fault(fields: list[str], columns: int, lines: list[str], separator: str) -> str | None:
    if undecoded := next(filter(None, map(_undecoded, lines)), None):
        return undecoded
    if '"' in lines[0]:
        try:
            list(csv.reader(lines, delimiter=separator, strict=True))
        except csv.Error as error:
            if "unexpected end" in str(error):
                lost = f" and takes {len(lines) - 1:,} lines more with it" if len(lines) > 1 else ""
                return f"opens a quote that is never closed{lost}"
    return f"has {len(fields)} fields, the header has {columns}" if len(fields) > columns else None


class _Lines:
    """Lines of a stream, kept until they are taken: those that the row in hand is made of."""

    def __init__(self, stream: IO[str]) -> None:
        self.stream = stream
        self.number = 0
        """Lines read."""
        self._kept: list[str] = []

    def __iter__(self) -> Iterator[str]:
        for line in self.stream:
            self.number += 1
            self._kept.append(line)
            yield line

    def take(self) -> list[str]:
        """The lines since the last call."""
        taken, self._kept = self._kept, []
        return taken


def _open_text(file: str, newline: str | None = None) -> IO[str]:
    """Bytes that are not UTF-8 come as lone surrogates, which no UTF-8 text has."""
    return io.TextIOWrapper(open_bytes(file), encoding="utf-8", errors="surrogateescape", newline=newline)


def _undecoded(text: str) -> str | None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        at = len(text[: error.start].encode("utf-8"))
        return f"is not UTF-8: byte {ord(text[error.start]) - 0xDC00:#04x} at {at}"
    return None


def undecoded_bytes(value: bytes) -> str | None:
    """What is wrong with a text that should be UTF-8."""
    try:
        value.decode("utf-8")
    except UnicodeDecodeError as error:
        return not_utf8(error)
    return None


def not_utf8(error: UnicodeDecodeError) -> str:
    """The byte that is wrong, and where."""
    return f"is not UTF-8: byte {error.object[error.start]:#04x} at {error.start}"
