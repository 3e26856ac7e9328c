"""Files by pattern, through the readers of `datasets`; one that cannot be read is named with its row."""

from __future__ import annotations

import glob
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neobert.errors import UserError
from neobert_plugins.datasets.diagnosis import diagnosis, disk_full
from neobert_plugins.datasets.quiet import bars_on_terminals_only, errors_only_raised
from neobert_plugins.datasets.streamed import repaired, stream

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
    files = {"train": find(options.path, "dataset.path")}
    if options.eval_path is not None:
        files["eval"] = find(options.eval_path, "dataset.eval_path")
    return load(files, options)


def load(files: dict[str, list[str]], options: Files) -> dict[str, Any]:
    """Splits of these files. Raises UserError that names the file and the row."""
    import datasets

    reader = options.format or _format_of([file for found in files.values() for file in found])
    everything = [file for found in files.values() for file in found]
    settings: dict[str, Any] = {"sample_by": options.text_unit} if reader == "text" else {}
    if reader == "csv" and all(".tsv" in Path(file).suffixes for file in everything):
        settings["sep"] = "\t"
    expected = (OSError, ValueError, datasets.exceptions.DatasetsError)
    try:
        with bars_on_terminals_only(), errors_only_raised():
            if options.streaming:
                return stream(reader, files, settings)
            try:
                return dict(datasets.load_dataset(reader, data_files=files, **settings))
            except (*expected, StopIteration) as error:  # the last is what it says of an empty file
                if disk_full(error):
                    raise
                return repaired(reader, files, settings)
    except expected as error:
        raise UserError(diagnosis(reader, everything, error)) from error


def find(pattern: str, said: str) -> list[str]:
    """The files of a path, a folder or a glob pattern, in order; ``said`` is the key or flag that names them."""
    path = Path(pattern).expanduser()
    if path.is_file():
        return [str(path)]
    if path.is_dir():
        path = path / "**"
    found = sorted(file for file in glob.glob(str(path), recursive=True) if Path(file).is_file())
    found = [file for file in found if not Path(file).name.startswith(".")]
    if not found:
        msg = f"{said} = {pattern!r} matches no file (from {Path.cwd()})"
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


def has_known_suffix(name: str) -> bool:
    """Whether a name ends as files of a known format do."""
    return _suffix_format(name) is not None


def _suffix_format(file: str) -> str | None:
    suffixes = Path(file).suffixes
    if suffixes and suffixes[-1] in _COMPRESSED:
        suffixes = suffixes[:-1]
    return _FORMATS.get(suffixes[-1].lower()) if suffixes else None
