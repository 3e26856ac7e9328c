"""A flat state as two files: ``state.safetensors`` and ``state.json``."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from neobert.files import sync, write_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

TENSOR_FILE = "state.safetensors"
VALUE_FILE = "state.json"


@frozen
class SafetensorsCheckpointer:
    """Writes whole tensors (every rank holds the same) and JSON values; equal states give equal bytes."""

    writes: bool
    """Whether this rank writes."""

    def save(self, directory: Path, state: Mapping[str, Any]) -> None:
        """Writes both files into an existing folder and syncs them.

        Raises `TypeError` for a value that JSON would not give back as it is (a tuple, a NaN, an object).
        """
        if not self.writes:
            return
        tensors, values = split_state(state)
        write_tensors(Path(directory) / TENSOR_FILE, tensors)
        write_text(Path(directory) / VALUE_FILE, json.dumps(values, indent=2, sort_keys=True) + "\n")
        sync(Path(directory))

    def load(self, directory: Path, state: Mapping[str, Any]) -> dict[str, Any]:
        """The saved state, in the order of the template ``state`` and on its tensors' devices.

        The template's tensors are left as they are. Keys must be the same, and so must shapes and dtypes of
        tensors; where the template has no tensor, any JSON value will do. Raises `ValueError` with every
        difference, a line each.
        """
        values = read_json(Path(directory) / VALUE_FILE)
        return filled_state(Path(directory), [TENSOR_FILE], state, values)


def filled_state(
    directory: Path, files: Sequence[str], state: Mapping[str, Any], values: Mapping[str, Any]
) -> dict[str, Any]:
    """The template ``state`` filled with the tensors of these files and with ``values``; see `load`."""
    filled, problems = _read_tensors([directory / name for name in files], state, values)
    for key, value in state.items():
        if not isinstance(value, Tensor) and key in values:
            filled[key] = values[key]
        elif not isinstance(value, Tensor) and key not in filled:
            problems.append(f"{key}: expected a value, and it is not in the checkpoint")
    problems += [f"{key}: in the checkpoint, and not expected" for key in values if key not in state]
    if problems:
        lines = "\n".join(f"  {problem}" for problem in sorted(problems))
        msg = f"{directory} does not hold the expected state:\n{lines}"
        raise ValueError(msg)
    return {key: filled[key] for key in state}


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """A safetensors file, synced."""
    save_file(on_host_and_apart(tensors), path)
    with path.open("rb") as file:
        os.fsync(file.fileno())


def split_state(state: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors, and JSON values; `TypeError` for what is neither."""
    tensors = {key: value for key, value in state.items() if isinstance(value, Tensor)}
    return tensors, {key: _json_value(key, value) for key, value in state.items() if key not in tensors}


def _read_tensors(
    paths: Iterable[Path], state: Mapping[str, Any], values: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """The tensors that are as expected, and a line for each that is not."""
    filled: dict[str, Any] = {}
    problems: list[str] = []
    saved: set[str] = set()
    for path in paths:
        try:
            with safe_open(path, framework="pt", device="cpu") as file:
                names = set(file.keys())
                for key in (key for key, wanted in state.items() if isinstance(wanted, Tensor) and key in names):
                    # A copy: the file's own memory must not outlive the file, and is not ours to write to.
                    found = file.get_tensor(key)
                    problems += _differences(key, state[key], found)
                    filled[key] = found.to(state[key].device, copy=True)
        except SafetensorError as error:
            msg = f"{path} is damaged: {error}"
            raise ValueError(msg) from error
        saved |= names
    for key, wanted in state.items():
        if isinstance(wanted, Tensor) and key not in saved:
            what = "the checkpoint has a plain value" if key in values else "it is not in the checkpoint"
            problems.append(f"{key}: expected a {_describe(wanted)} tensor, and {what}")
    for key in saved - filled.keys():
        what = "where a plain value is expected" if key in state else "and not expected"
        problems.append(f"{key}: a tensor in the checkpoint, {what}")
        filled[key] = None
    return filled, problems


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file's table; `ValueError` where it is damaged."""
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        msg = f"{path} is damaged: {error}"
        raise ValueError(msg) from error
    return values


def _differences(key: str, wanted: Tensor, found: Tensor) -> list[str]:
    if wanted.shape == found.shape and wanted.dtype == found.dtype:
        return []
    return [f"{key}: expected {_describe(wanted)}, and the checkpoint has {_describe(found)}"]


def _describe(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"


def on_host_and_apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous tensors on the host, by sorted key, no two in one memory: safetensors takes no others."""
    apart: dict[str, Tensor] = {}
    seen: set[int] = set()
    for key in sorted(tensors):
        tensor = tensors[key].detach().to("cpu").contiguous()
        memory = tensor.untyped_storage()
        if memory.data_ptr() in seen or memory.nbytes() != tensor.nbytes:
            tensor = tensor.clone()
        seen.add(tensor.untyped_storage().data_ptr())
        apart[key] = tensor
    return apart


def _json_value(key: str, value: Any) -> Any:
    try:
        back = json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError) as error:
        msg = f"{key}: a state holds tensors and JSON values, got {value!r} ({error})"
        raise TypeError(msg) from error
    if not _same(back, value):
        msg = f"{key}: JSON would give {back!r} back for {value!r}"
        raise TypeError(msg)
    return value


def _same(left: Any, right: Any) -> bool:
    """Equal in value and in type, all the way down."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(_same(left[key], right[key]) for key in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(_same, left, right))
    return bool(left == right)
