"""Files as a stream, where what cannot be read is named with its file and row, whoever reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import frozen

from neobert.errors import UserError
from neobert_plugins.datasets.diagnosis import diagnosis
from neobert_plugins.datasets.quiet import errors_only_raised

if TYPE_CHECKING:
    from collections.abc import Iterator


def stream(reader: str, files: dict[str, list[str]], settings: dict[str, Any]) -> dict[str, Any]:
    """The splits as ``datasets.IterableDataset``.

    The library raises whatever its parser does, without the file: so its builder's generator of tables is wrapped.
    """
    import datasets

    builder = datasets.load_dataset_builder(reader, data_files=files, **settings)
    builder._generate_tables = _CheckedTables(
        builder, reader, tuple(file for found in files.values() for file in found)
    )
    return dict(builder.as_streaming_dataset())


@frozen(eq=False)
class _CheckedTables:
    """A builder's generator of tables. Picklable, as datasets have to be."""

    builder: Any
    reader: str
    files: tuple[str, ...]

    def __call__(self, **kwargs: Any) -> Iterator[Any]:
        tables = type(self.builder)._generate_tables(self.builder, **kwargs)
        while True:
            try:
                with errors_only_raised():
                    found = next(tables, None)
                if found is not None:
                    found[1].validate(full=True)  # such as bytes that are not UTF-8
            except Exception as error:  # every reader has its own
                raise UserError(diagnosis(self.reader, list(self.files), error)) from error
            if found is None:
                return
            yield found
