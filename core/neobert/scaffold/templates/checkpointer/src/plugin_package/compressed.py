"""A flat state as two files: ``state.safetensors.gz`` and ``state.json``."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen
from safetensors.torch import load, save
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TENSORS = "state.safetensors.gz"
VALUES = "state.json"


@frozen
class CompressedCheckpointer:
    """Equal states give equal bytes. Names, syncing and the manifest are the core's."""

    level: int
    writes: bool

    def save(self, directory: Path, state: Mapping[str, Any]) -> None:
        """Writes both files into an existing folder. Raises `TypeError` for what JSON would not give back as it is."""
        if not self.writes:
            return
        tensors = {key: _apart(value) for key, value in state.items() if isinstance(value, Tensor)}
        values = {key: value for key, value in state.items() if not isinstance(value, Tensor)}
        text = json.dumps(values, indent=2, sort_keys=True, allow_nan=False)
        if json.loads(text) != values:
            msg = f"values are what JSON has, got {values!r}"
            raise TypeError(msg)
        (Path(directory) / TENSORS).write_bytes(gzip.compress(save(tensors), self.level, mtime=0))
        (Path(directory) / VALUES).write_text(text, encoding="utf-8")

    def load(self, directory: Path, state: Mapping[str, Any]) -> dict[str, Any]:
        """The saved state, on the devices of the template ``state``; `ValueError` with every difference."""
        tensors = load(gzip.decompress((Path(directory) / TENSORS).read_bytes()))
        values = json.loads((Path(directory) / VALUES).read_text(encoding="utf-8"))
        problems = list(_differences(state, tensors, values))
        if problems:
            msg = "\n".join([f"{directory} does not hold the expected state:", *problems])
            raise ValueError(msg)
        return {
            key: tensors[key].to(value.device) if isinstance(value, Tensor) else values[key]
            for key, value in state.items()
        }


def _apart(tensor: Tensor) -> Tensor:
    """A copy on the host that shares its memory with no other: of tied weights each is written."""
    return tensor.detach().cpu().clone().contiguous()


def _differences(state: Mapping[str, Any], tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> Iterator[str]:
    wanted = {key for key, value in state.items() if isinstance(value, Tensor)}
    for name, expected, found in (("tensor", wanted, tensors.keys()), ("value", state.keys() - wanted, values.keys())):
        yield from (f"  {key}: no such {name} was saved" for key in sorted(expected - found))
        yield from (f"  {key}: a {name} that is not expected" for key in sorted(found - expected))
    for key in sorted(wanted & tensors.keys()):
        forms = [(tuple(tensor.shape), tensor.dtype) for tensor in (state[key], tensors[key])]
        if forms[0] != forms[1]:
            yield f"  {key}: expected {forms[0]}, found {forms[1]}"
