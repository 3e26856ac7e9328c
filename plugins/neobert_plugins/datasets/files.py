"""Files by pattern, through the readers of `datasets`; one that cannot be read is named with its row."""

from __future__ import annotations

import glob
import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neobert.errors import UserError
from neobert_plugins.datasets.quiet import bars_on_terminals_only, errors_only_raised

if TYPE_CHECKING:
    from neobert_plugins.datasets.options import Files

_FORMATS = {
    ".txt": "text",
    ".text": "text",
    ".md": "text",
    ".rst": "text",
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
}
_COMPRESSED = (".gz", ".bz2", ".xz", ".zst")


def read(options: Files) -> dict[str, Any]:
    """``train``, and ``eval`` with an ``eval_path``. Raises UserError that names the file and the row."""
    files = {"train": _find(options.path, "path")}
    if options.eval_path is not None:
        files["eval"] = _find(options.eval_path, "eval_path")
    everything = [file for found in files.values() for file in found]
    reader = options.format or _format_of(everything)
    return _load(reader, files, options)


def _load(reader: str, files: dict[str, list[str]], options: Files) -> dict[str, Any]:
    import datasets

    settings: dict[str, Any] = {"sample_by": options.text_unit} if reader == "text" else {}
    if reader == "csv" and all(".tsv" in Path(file).suffixes for found in files.values() for file in found):
        settings["sep"] = "\t"
    try:
        with bars_on_terminals_only(), errors_only_raised():
            loaded = datasets.load_dataset(reader, data_files=files, streaming=options.streaming, **settings)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        found = [file for names in files.values() for file in names]
        raise UserError(_diagnosis(reader, found, error)) from error
    return dict(loaded)


def _find(pattern: str, key: str) -> list[str]:
    path = Path(pattern).expanduser()
    if path.is_file():
        return [str(path)]
    if path.is_dir():
        path = path / "**"
    found = sorted(file for file in glob.glob(str(path), recursive=True) if Path(file).is_file())
    found = [file for file in found if not Path(file).name.startswith(".")]
    if not found:
        msg = f"dataset.{key} = {pattern!r} matches no file (from {Path.cwd()})"
        raise UserError(msg)
    return found


def _format_of(files: list[str]) -> str:
    formats = Counter(_suffix_format(file) for file in files)
    if len(formats) == 1 and None not in formats:
        return str(next(iter(formats)))
    known = ", ".join(sorted({name for name in formats if name is not None})) or "none"
    odd = next((file for file in files if _suffix_format(file) is None), files[0])
    msg = (
        f"cannot tell the format of {len(files)} files by their suffixes "
        f"(known among them: {known}; look at {odd})\n"
        'set dataset.format = "text", "json", "csv" or "parquet", or a narrower pattern'
    )
    raise UserError(msg)


def _suffix_format(file: str) -> str | None:
    suffixes = Path(file).suffixes
    if suffixes and suffixes[-1] in _COMPRESSED:
        suffixes = suffixes[:-1]
    return _FORMATS.get(suffixes[-1].lower()) if suffixes else None


def _diagnosis(reader: str, files: list[str], error: Exception) -> str:
    """Looks through the files, once loading has failed, for the one and the row that are at fault."""
    for file in files:
        if fault := _fault_in(file, reader):
            return f"{file}: {fault}"
    cause = error.__cause__ or error
    return f"cannot read {len(files)} {reader} files, the first is {files[0]}\n{type(cause).__name__}: {cause}"


def _fault_in(file: str, reader: str) -> str | None:
    if reader == "parquet":
        return _parquet_fault(file)
    if Path(file).suffix in _COMPRESSED:
        return None
    with open(file, "rb") as lines:
        for row, line in enumerate(lines, start=1):
            try:
                text = line.decode("utf-8")
                if reader == "json" and text.strip() and Path(file).suffix != ".json":
                    json.loads(text)
            except UnicodeDecodeError as error:
                return f"row {row} is not UTF-8: byte {line[error.start]:#04x} at {error.start}"
            except json.JSONDecodeError as error:
                return f"row {row} is not JSON: {error.msg} at column {error.colno}"
    return "the file is empty" if Path(file).stat().st_size == 0 else None


def _parquet_fault(file: str) -> str | None:
    import pyarrow
    import pyarrow.parquet as pq

    try:
        pq.ParquetFile(file)
    except (pyarrow.ArrowInvalid, OSError) as error:
        return f"not a whole Parquet file: {error}"
    return None
