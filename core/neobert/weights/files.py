"""Finds and reads the weights that a path means. Only safetensors: a pickle runs whatever code it carries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomli
import torch
from attrs import frozen
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from neobert.errors import UserError
from neobert.run_folder import inside_of_run, newest_of_run, not_there, refuse_damaged

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

SUFFIX = ".safetensors"
SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
PICKLES = (".bin", ".pt", ".pth", ".ckpt")
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "BOOL": torch.bool,
}
"""Names of the format; every other is some integer."""
PROJECTION_FOLDER = "2_Dense"
"""In a sentence encoder's folder: the linear layer behind its pooling, ``linear.weight`` (E, C) and ``linear.bias``."""


@frozen
class Location:
    """Where weights are: in one file, in several, in a folder."""

    source: Path
    """The folder or the file itself; of a run, its newest step."""
    files: tuple[Path, ...]
    notes: tuple[str, ...] = ()
    """Of a run: which step it is, and what was passed over."""

    @property
    def folder(self) -> Path:
        """Where what describes them lies: ``config.json``, ``recipe.toml``, a tokenizer."""
        return self.source if self.source.is_dir() else self.source.parent


@frozen(eq=False)
class WeightFiles:
    """Tensors as some folder or file holds them, and what is known of the model they belong to."""

    location: Location
    tensors: dict[str, Tensor]
    config: dict[str, Any]
    """``config.json``, else the [model] table of ``recipe.toml``, else empty."""

    def projection(self) -> dict[str, Tensor]:
        """``weight`` and maybe ``bias`` of a sentence encoder's linear layer; empty where there is none."""
        file = self.location.folder / PROJECTION_FOLDER / SINGLE_FILE
        found = _readable(file, _read) if file.is_file() else {}
        return {name.removeprefix("linear."): tensor for name, tensor in found.items()}


def find_weights(path: Path) -> Location:
    """What ``path`` means: a safetensors file, a folder of them, a checkpoint, an export, or a run's newest one.

    Raises UserError when there is nothing there that can be read whole.
    """
    if not path.exists():
        msg = f"there are no weights at {path}: {not_there(path)}"
        raise UserError(msg)
    step = newest_of_run(path) if path.is_dir() else None
    source = path if step is None else step.path
    if step is None and source.is_dir():
        refuse_damaged(source)
    files = _files_of(source) if source.is_dir() else [source]
    for file in files:
        _refuse_other_formats(file)
    return Location(source, tuple(files), () if step is None else step.notes)


def read_weights(location: Location) -> WeightFiles:
    """Every tensor, in memory; raises UserError where a file cannot be read."""
    return _gathered(location, _read)


def read_shapes(location: Location) -> WeightFiles:
    """The same with tensors on the meta device, which have shapes and no values: only headers are read."""
    return _gathered(location, _read_header)


def _gathered(location: Location, read: Callable[[Path], dict[str, Tensor]]) -> WeightFiles:
    tensors: dict[str, Tensor] = {}
    for file in location.files:
        for name, tensor in _readable(file, read).items():
            if name in tensors:
                msg = f"{location.source}: tensor {name} is in more than one file"
                raise UserError(msg)
            tensors[name] = tensor
    return WeightFiles(location, tensors, _config_of(location.folder))


def _files_of(folder: Path) -> list[Path]:
    if (folder / INDEX_FILE).is_file():
        return _shards(folder / INDEX_FILE)
    if (folder / SINGLE_FILE).is_file():
        return [folder / SINGLE_FILE]
    files = sorted(folder.glob(f"*{SUFFIX}"))
    if files:
        return files
    pickles = sorted(file for file in folder.iterdir() if file.suffix in PICKLES)
    if pickles:
        raise _pickle_refused(pickles[0])
    hint = inside_of_run(folder)
    msg = f"there are no weights in {folder}: expected {SINGLE_FILE}, {INDEX_FILE} or a run's checkpoints"
    raise UserError(f"{msg}\n{hint}" if hint else msg)


def _shards(index: Path) -> list[Path]:
    try:
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        msg = f"{index} is not a safetensors index: {error}"
        raise UserError(msg) from error
    outside = [name for name in names if not _is_inside(name)]
    if outside:
        msg = f"{index} names {outside[0]!r}, which is no file in its folder, and nothing outside of it is read"
        raise UserError(msg)
    files = [index.parent / name for name in sorted(names)]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        msg = f"{index} names files that are not there: {', '.join(missing)}"
        raise UserError(msg)
    return files


def _is_inside(name: object) -> bool:
    """Whether a name can only mean a file below the index; it may be a link, as in a hub's cache."""
    return isinstance(name, str) and "\0" not in name and not Path(name).is_absolute() and ".." not in Path(name).parts


def _refuse_other_formats(file: Path) -> None:
    if file.suffix in PICKLES:
        raise _pickle_refused(file)
    if file.suffix != SUFFIX:
        msg = f"{file} is not a {SUFFIX} file"
        raise UserError(msg)


def _readable(file: Path, read: Callable[[Path], dict[str, Tensor]]) -> dict[str, Tensor]:
    try:
        return read(file)
    except (OSError, SafetensorError) as error:
        msg = f"{file} cannot be read as safetensors: {error}"
        raise UserError(msg) from error


def _read(file: Path) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = load_file(file)
    return tensors


def _read_header(file: Path) -> dict[str, Tensor]:
    with safe_open(file, "pt") as opened:
        slices = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118 - it is no mapping
        return {
            name: torch.empty(part.get_shape(), dtype=DTYPES.get(part.get_dtype(), torch.int64), device="meta")
            for name, part in slices.items()
        }


def _pickle_refused(file: Path) -> UserError:
    return UserError(
        f"{file} is a pickle, which can run code of its own when opened, and is not read. "
        "Where you trust it, convert it once:\n"
        '  python -c "import torch; from safetensors.torch import save_file; '
        f"s = torch.load({str(file)!r}, weights_only=True); "
        f'save_file({{k: v.clone() for k, v in s.items()}}, {str(file.with_suffix(SUFFIX))!r})"'
    )


def _config_of(folder: Path) -> dict[str, Any]:
    try:
        if (folder / "config.json").is_file():
            return dict(json.loads((folder / "config.json").read_text(encoding="utf-8")))
        if (folder / "recipe.toml").is_file():
            return dict(tomli.loads((folder / "recipe.toml").read_text(encoding="utf-8")).get("model", {}))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        msg = f"the description of the weights in {folder} cannot be read: {error}"
        raise UserError(msg) from error
    return {}
