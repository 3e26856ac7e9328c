"""A library reader's tables file by file: damaged rows are marked, and what cannot be read on is named."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from attrs import define, frozen

from neobert.errors import UserError
from neobert_plugins.datasets.diagnosis import diagnosis
from neobert_plugins.datasets.quiet import errors_only_raised
from neobert_plugins.datasets.repair import Repair, marked
from neobert_plugins.datasets.rows import undecoded_bytes


@define(eq=False)
class MarkedTables:
    """A builder's generator of tables, with `DAMAGE_COLUMN`. Picklable, as datasets have to be."""

    builder: Any
    reader: str
    settings: Mapping[str, Any]
    names: Mapping[str, str]
    """Of each file, by its whole path, the name that people gave it."""
    features: Any = None
    """Columns with their types, once they are found: every table has them."""

    def __call__(self, **arguments: Any) -> Iterator[Any]:
        for one in one_file_each(arguments):
            for number, table in enumerate(self._of_file(one)):
                yield (0, number), self._complete(table)

    def _of_file(self, arguments: dict[str, Any]) -> Iterator[Any]:
        file, done = self.names.get(file_of(arguments), file_of(arguments)), 0
        tables = type(self.builder)._generate_tables(self.builder, **arguments)
        while True:
            try:
                with errors_only_raised():
                    found = next(tables, None)
                if found is None:
                    return
                table = self._checked(file, done, found[1])
            except Exception as error:  # every reader has its own
                repaired = self._repair(file, arguments).tables(done)
                if repaired is None:
                    raise error if _asks(error) else UserError(diagnosis(self.reader, [file], error)) from error
                yield from repaired
                return
            yield table
            done += len(table)

    def _repair(self, file: str, arguments: dict[str, Any]) -> Repair:
        return Repair(self.builder, self.reader, self.settings, file, arguments)

    def _checked(self, file: str, done: int, table: Any) -> Any:
        """Strings may hold bytes that are no UTF-8: of Parquet these are marked, other files are read row by row."""
        import pyarrow as pa

        try:
            table.validate(full=True)
        except pa.ArrowInvalid:
            if self.reader != "parquet":
                raise
            return _without_bad_strings(file, done, table)
        return marked(table)

    def _complete(self, table: Any) -> Any:
        """The table with every column."""
        import pyarrow as pa

        for name, field in ({} if self.features is None else {f.name: f for f in self.features.arrow_schema}).items():
            if name not in table.column_names:
                table = table.append_column(name, pa.nulls(len(table), field.type))
        return table


def _asks(error: Exception) -> bool:
    """Whether it is the library's own signal that columns are not to be found in a part of the file."""
    return type(error).__name__ == "FullReadDisallowed"


def _without_bad_strings(file: str, done: int, table: Any) -> Any:
    """The table without strings that are not UTF-8, and their rows marked."""
    import pyarrow as pa

    faults: list[str | None] = [None] * len(table)
    for place, name in enumerate(table.column_names):
        kind = table[name].type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            continue
        values = table[name].cast(pa.large_binary()).to_pylist()
        for row, value in enumerate(values):
            if value is not None and (fault := undecoded_bytes(value)):
                values[row], faults[row] = None, f"{file}: row {done + row + 1} {fault} of {name}"
        table = table.set_column(place, name, pa.array(values, type=pa.large_binary()).cast(kind))
    return marked(table, faults)


@frozen(eq=False)
class NamedTables:
    """A generator of tables whose failure names the dataset, the file and the row. Picklable."""

    generate: Any
    dataset: str

    def __call__(self, **arguments: Any) -> Iterator[Any]:
        for one in one_file_each(arguments):
            done = 0
            try:
                for key, table in self.generate(**one):
                    yield key, table
                    done += len(table)
            except Exception as error:  # every reader, and every network, has its own
                where = f"{self.dataset}: {file_of(one)} cannot be read after its row {done}"
                msg = f"{where}: {type(error).__name__}: {error}"
                raise UserError(msg) from error


def one_file_each(arguments: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A builder's arguments, whose lists go file by file, for one file after another."""
    count = max((len(value) for value in arguments.values() if isinstance(value, list)), default=1)
    for number in range(count):
        yield {name: [value[number]] if isinstance(value, list) else value for name, value in arguments.items()}


def file_of(arguments: Mapping[str, Any]) -> str:
    """The name of the only file among a builder's arguments, as it was given."""
    for name in ("base_files", "files"):
        if isinstance(found := arguments.get(name), list) and len(found) == 1:
            return str(found[0])
    return "a file"
