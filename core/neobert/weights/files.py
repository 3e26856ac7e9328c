"""Finds and reads the weights that a path means. Only safetensors: a pickle runs whatever code it carries."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import tomli
from attrs import frozen
from safetensors import SafetensorError
from safetensors.torch import load_file

from neobert.errors import UserError
from neobert.files import faults, has_manifest

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

SUFFIX = ".safetensors"
SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
PICKLES = (".bin", ".pt", ".pth", ".ckpt")
RUN_FOLDERS = ("model_checkpoints", "checkpoints")
"""Where a run keeps its weights; of two folders of one step, the first is taken."""


@frozen(eq=False)
class WeightFiles:
    """Tensors as some folder or file holds them, and what is known of the model they belong to."""

    source: Path
    tensors: dict[str, Tensor]
    config: dict[str, Any]
    """``config.json``, else the [model] table of ``recipe.toml``, else empty."""


def find_weights(path: Path) -> tuple[Path, list[Path]]:
    """What ``path`` means, and its safetensors files: one, a folder of them, a checkpoint, or a run's newest one.

    Raises UserError when there is nothing there that can be read whole.
    """
    if not path.exists():
        msg = f"there are no weights at {path}: no such file or folder"
        raise UserError(msg)
    source = newest_of_run(path) if path.is_dir() else path
    files = _files_of(source) if source.is_dir() else [source]
    for file in files:
        _refuse_other_formats(file)
    return source, files


def read_weights(path: Path) -> WeightFiles:
    """Reads what `find_weights` finds; raises UserError where it can't."""
    source, files = find_weights(path)
    tensors: dict[str, Tensor] = {}
    for file in files:
        for name, tensor in _read(file).items():
            if name in tensors:
                msg = f"{source}: tensor {name} is in more than one file"
                raise UserError(msg)
            tensors[name] = tensor
    return WeightFiles(source, tensors, _config_of(source if source.is_dir() else source.parent))


def newest_of_run(folder: Path) -> Path:
    """For a run's folder, its newest complete checkpoint or export; any other folder is itself."""
    kinds = [folder / name for name in RUN_FOLDERS if (folder / name).is_dir()]
    if not kinds:
        return folder
    steps = [path for kind in kinds for path in kind.iterdir() if path.name.isdecimal() and path.is_dir()]
    for path in sorted(steps, key=lambda path: int(path.name), reverse=True):
        if has_manifest(path) and not faults(path):
            return path
    msg = f"{folder} is a run without a complete checkpoint ({len(steps)} incomplete or damaged)"
    raise UserError(msg)


def _files_of(folder: Path) -> list[Path]:
    if has_manifest(folder) and (found := faults(folder)):
        msg = f"{folder} is damaged: {'; '.join(found)}"
        raise UserError(msg)
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
    msg = f"there are no weights in {folder}: expected {SINGLE_FILE}, {INDEX_FILE} or a run's checkpoints"
    raise UserError(msg)


def _shards(index: Path) -> list[Path]:
    try:
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        msg = f"{index} is not a safetensors index: {error}"
        raise UserError(msg) from error
    files = [index.parent / name for name in sorted(names)]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        msg = f"{index} names files that are not there: {', '.join(missing)}"
        raise UserError(msg)
    return files


def _refuse_other_formats(file: Path) -> None:
    if file.suffix in PICKLES:
        raise _pickle_refused(file)
    if file.suffix != SUFFIX:
        msg = f"{file} is not a {SUFFIX} file"
        raise UserError(msg)


def _read(file: Path) -> dict[str, Tensor]:
    try:
        tensors: dict[str, Tensor] = load_file(file)
    except (OSError, SafetensorError) as error:
        msg = f"{file} cannot be read as safetensors: {error}"
        raise UserError(msg) from error
    return tensors


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
    except (ValueError, TypeError) as error:
        msg = f"the description of the weights in {folder} cannot be read: {error}"
        raise UserError(msg) from error
    return {}
