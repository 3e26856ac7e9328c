"""A file that its reader refuses, read again without its damaged rows: each keeps its place, and has no value."""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from attrs import evolve, frozen

from neobert.damage import DAMAGE_COLUMN
from neobert.errors import UserError
from neobert_plugins.datasets.kinds import Kinds
from neobert_plugins.datasets.quiet import errors_only_raised
from neobert_plugins.datasets.rows import Row, rows_of

_ROWS_A_BLOCK = 1000


@frozen(eq=False)
class Repair:
    """Rows of one file, handed to the library's own reader in blocks that it can read."""

    builder: Any
    """Of the library, for this format; knows the columns' types once they are found."""
    reader: str
    settings: Mapping[str, Any]
    file: str
    arguments: Mapping[str, Any]
    """Of the library's generator of tables for this file."""

    def tables(self, done: int) -> Iterator[Any] | None:
        """Tables of the rows from number ``done`` on, with `DAMAGE_COLUMN`; None where it has no rows to skip."""
        rows = rows_of(self.file, self.reader, text_unit=self.settings.get("sample_by", "line"), separator=self._comma)
        return None if rows is None else self._tables(rows, done)

    @property
    def _comma(self) -> str:
        return str(self.settings.get("sep", ","))

    def _tables(self, rows: Iterator[Row], done: int) -> Iterator[Any]:
        header: list[str] = []
        if self.reader == "csv":
            first = next(rows, Row("header", []))
            if first.fault is not None:
                msg = f"{self.file}: its header {first.fault}"
                raise UserError(msg)
            header = first.value
        kinds = None
        rows = islice(rows, done, None)
        while block := list(islice(rows, _ROWS_A_BLOCK)):
            if self.reader == "json":
                kinds = kinds or Kinds(self.builder.info.features, block)
                block = list(map(kinds.fit, block))
            yield from self._block(block, header)

    def _block(self, block: list[Row], header: list[str]) -> Iterator[Any]:
        """One table; where the reader refuses it, those of its halves, down to the rows that it refuses."""
        if all(row.value is None for row in block):
            yield damage_only([f"{self.file}: {row.where} {row.fault}" for row in block])
            return
        try:
            table = self._read(block, header)
        except OSError:  # no room for the block: the rows are not to blame
            raise
        except Exception as error:  # every reader has its own
            if len(block) > 1:
                middle = len(block) // 2
                yield from self._block(block[:middle], header)
                yield from self._block(block[middle:], header)
            else:
                fault = f"cannot be read as the rows before it: {type(error).__name__}: {error}"
                yield from self._block([evolve(block[0], value=None, fault=fault)], header)
            return
        yield marked(table, [None if row.fault is None else f"{self.file}: {row.where} {row.fault}" for row in block])

    def _read(self, block: list[Row], header: list[str]) -> Any:
        import pyarrow as pa

        if self.reader == "text":
            return pa.table({"text": pa.array([row.value for row in block], type=pa.string())})
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "rows"
            self._write(path, block, header)
            generate = type(self.builder)._generate_tables
            with errors_only_raised():
                parts = [t for _, t in generate(self.builder, **{**self.arguments, "files_iterables": [[str(path)]]})]
        table = pa.concat_tables(parts, promote_options="default")
        if len(table) != len(block):
            msg = f"{len(block)} rows were read as {len(table)}"
            raise ValueError(msg)
        return table

    def _write(self, path: Path, block: list[Row], header: list[str]) -> None:
        if self.reader == "json":
            path.write_text("".join(json.dumps(row.value or {}) + "\n" for row in block), encoding="utf-8")
            return
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, delimiter=self._comma)
            writer.writerow(header)
            writer.writerows(row.value or [""] * len(header) for row in block)


def marked(table: Any, faults: list[str | None] | None = None) -> Any:
    """The table with `DAMAGE_COLUMN`."""
    import pyarrow as pa

    column = pa.nulls(len(table), pa.string()) if faults is None else pa.array(faults, type=pa.string())
    return table.append_column(DAMAGE_COLUMN, column)


def damage_only(faults: list[str]) -> Any:
    """Rows of which nothing can be read."""
    import pyarrow as pa

    return pa.table({DAMAGE_COLUMN: pa.array(faults, type=pa.string())})
