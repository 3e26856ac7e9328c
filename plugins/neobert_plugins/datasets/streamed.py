"""Files as a stream, in which rows that cannot be read are marked, and all else is named, whoever reads it."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neobert.damage import DAMAGE_COLUMN
from neobert.errors import UserError
from neobert_plugins.datasets.diagnosis import diagnosis
from neobert_plugins.datasets.tables import MarkedTables

if TYPE_CHECKING:
    from collections.abc import Mapping


def stream(reader: str, files: dict[str, list[str]], settings: dict[str, Any]) -> dict[str, Any]:
    """The splits as ``datasets.IterableDataset`` with `DAMAGE_COLUMN`."""
    import datasets

    builder = datasets.load_dataset_builder(reader, data_files=files, **settings)
    tables = mark(builder, reader, files, settings)
    splits = find_features(builder, tables, files)
    return {name: rows.cast(tables.features) for name, rows in splits.items()}


def repaired(reader: str, files: dict[str, list[str]], settings: dict[str, Any]) -> dict[str, Any]:
    """The splits as ``datasets.Dataset`` with `DAMAGE_COLUMN`, kept in the library's cache, of files that its reader
    refuses."""
    import datasets

    cache = Path(datasets.config.HF_DATASETS_CACHE) / "neobert-repaired"
    builder = datasets.load_dataset_builder(reader, data_files=files, cache_dir=str(cache), **settings)
    tables = mark(builder, reader, files, settings)
    find_features(builder, tables, files)
    builder.download_and_prepare()
    return dict(builder.as_dataset())


def mark(builder: Any, reader: str, files: Mapping[str, list[str]], settings: Mapping[str, Any]) -> MarkedTables:
    """Makes a builder generate tables with `DAMAGE_COLUMN`.

    The library raises whatever its parser does, without the file and for all of it: so its generator is wrapped.
    """
    inner = deepcopy(builder)
    if reader == "json":
        inner.config.on_mixed_types = None  # it would write texts as JSON, quoted, beside a value that is none
    names = {str(Path(file).absolute()): file for found in files.values() for file in found}
    tables = MarkedTables(inner, reader, settings, names)
    builder._generate_tables = tables
    return tables


def find_features(builder: Any, tables: MarkedTables, files: Mapping[str, list[str]]) -> dict[str, Any]:
    """Tells builder and tables the columns: as the library finds them, else those of the first table. Returns the
    splits as streams."""
    import datasets

    try:
        splits = dict(builder.as_streaming_dataset())
    except StopIteration as error:  # what the library says of files without a row
        raise UserError(no_row(tables.reader, files)) from error
    found = builder.info.features
    if tables.reader == "text":
        found = datasets.Features({"text": datasets.Value("string")})
    elif found is None:
        listed = [file for names in files.values() for file in names]
        arguments: dict[str, Any] = {"base_files": listed, "files_iterables": [[file] for file in listed]}
        if tables.reader == "json":
            arguments["original_files"] = listed
        _, first = next(tables(**arguments), (None, None))
        if first is None:
            raise UserError(no_row(tables.reader, files))
        found = datasets.Features.from_arrow_schema(first.schema)
    own = datasets.Features({name: feature for name, feature in found.items() if name != DAMAGE_COLUMN})
    if not own:
        raise UserError(no_row(tables.reader, files))
    tables.builder.info.features = own
    tables.features = builder.info.features = datasets.Features({**own, DAMAGE_COLUMN: datasets.Value("string")})
    return splits


def no_row(reader: str, files: Mapping[str, list[str]]) -> str:
    """What to say of files in which no row can be read."""
    return diagnosis(reader, [file for names in files.values() for file in names], ValueError("no file has a row"))
