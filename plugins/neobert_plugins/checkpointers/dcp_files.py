"""A flat state by `torch.distributed.checkpoint`: safetensors files of parts, and ``state.json``.

Torch writes each process's rows of each tensor to a file of that process, whose header says where they lie, and puts
any other parts together from these when it reads. Its usual index is a pickle, and so are values that are no
tensors: its safetensors storage needs no index, and is given tensors alone.
"""

from __future__ import annotations

import json
import os
import re
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from attrs import frozen
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.state_dict_loader import load as load_parts
from torch.distributed.checkpoint.state_dict_saver import save as save_parts
from torch.distributed.tensor import DTensor

from neobert.files import sync, write_text
from neobert_plugins.checkpointers.safetensors_files import VALUE_FILE, on_host_and_apart, read_json, split_state

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import distributed as dist

NAME = re.compile(r"shard-\d+-model-\d+-of-\d+\.safetensors")
"""What torch calls a file of a process."""


@frozen(kw_only=True)
class DistributedCheckpointer:
    """Each process writes the rows that it has, and of what all have, one does; equal states give equal bytes."""

    takes_parts: ClassVar[bool] = True
    rank: int
    group: dist.ProcessGroup | None
    """Who carries torch's plans between processes; None for one process."""

    def save(self, directory: Path, state: Mapping[str, Any]) -> None:
        """Writes this rank's file into an existing folder and syncs it; the first rank writes the values, too.

        Raises `TypeError` for a value that JSON would not give back as it is (a tuple, a NaN, an object).
        """
        tensors, values = split_state(state)
        writer = HuggingFaceStorageWriter(str(directory), save_distributed=True)
        with _own_errors(directory):
            save_parts(_by_key(tensors), storage_writer=writer, process_group=self.group, no_dist=self.group is None)
        own = Path(directory) / f"shard-{self.rank + 1:05d}-model-00001-of-00001.safetensors"
        if own.exists():  # of a process that has nothing of its own there is none
            _put_in_order(own)
        if self.rank == 0:
            files = sorted(path.name for path in Path(directory).iterdir() if NAME.fullmatch(path.name))
            content = {"files": files, "tensors": _described(tensors), "values": values}
            write_text(Path(directory) / VALUE_FILE, json.dumps(content, indent=2, sort_keys=True) + "\n")
        sync(Path(directory))

    def load(self, directory: Path, state: Mapping[str, Any]) -> dict[str, Any]:
        """The saved state, in the order of the template ``state``, on its tensors' devices and in their parts.

        The template's tensors are left as they are. Keys must be the same, and so must shapes and dtypes of tensors;
        where the template has no tensor, any JSON value will do. Raises `ValueError` with every difference, a line
        each.
        """
        content = read_json(Path(directory) / VALUE_FILE)
        kinds = {"files": list, "tensors": dict, "values": dict}
        if not isinstance(content, dict) or any(not isinstance(content.get(key), kind) for key, kind in kinds.items()):
            msg = f"{Path(directory) / VALUE_FILE} is not one of the checkpointer `dcp`"
            raise ValueError(msg)
        wanted = {key: value for key, value in state.items() if isinstance(value, Tensor)}
        _refuse_other_files(Path(directory), content["files"])
        _refuse_other_state(directory, state, _described(wanted), content)
        filled = {key: torch.empty_like(value.detach()) for key, value in wanted.items()}
        with _own_errors(directory):
            reader = HuggingFaceStorageReader(str(directory))
            load_parts(filled, storage_reader=reader, process_group=self.group, no_dist=self.group is None)
        return {key: filled[key] if key in filled else content["values"][key] for key in state}


def _by_key(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """In one order whatever the state's: torch writes them as they come."""
    parts = {key: value.detach() for key, value in tensors.items() if isinstance(value, DTensor)}
    entire = on_host_and_apart({key: value for key, value in tensors.items() if key not in parts})
    return dict(sorted({**parts, **entire}.items()))


def _put_in_order(path: Path) -> None:
    """Has the metadata in a safetensors header in one order, where safetensors has any, another each time."""
    with path.open("r+b") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        assert len(text) <= size, "the same entries take the same bytes"
        file.seek(8)
        file.write(text.ljust(size))
        file.flush()
        os.fsync(file.fileno())


def _described(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    return {
        key: {"shape": list(value.shape), "dtype": str(value.dtype).removeprefix("torch.")}
        for key, value in tensors.items()
    }


def _refuse_other_files(directory: Path, files: list[str]) -> None:
    """A file that is not there would be taken for tensors with fewer rows; of one that is cut short, torch's log would
    have a traceback."""
    found = sorted(path.name for path in directory.iterdir() if path.suffix == ".safetensors")
    if sorted(files) != found:
        msg = f"{directory} was saved as {sorted(files)}, and there is {found}"
        raise ValueError(msg)
    for name in files:
        try:
            with safe_open(directory / name, framework="pt"):
                pass
        except SafetensorError as error:
            msg = f"{directory / name} is damaged: {error}"
            raise ValueError(msg) from error


def _refuse_other_state(
    directory: Path, state: Mapping[str, Any], wanted: Mapping[str, Any], content: Mapping[str, Any]
) -> None:
    problems = list(_differences(state, wanted, content["tensors"], content["values"]))
    if problems:
        lines = "\n".join(f"  {problem}" for problem in sorted(problems))
        msg = f"{directory} does not hold the expected state:\n{lines}"
        raise ValueError(msg)


def _differences(
    state: Mapping[str, Any], wanted: Mapping[str, Any], saved: Mapping[str, Any], values: Mapping[str, Any]
) -> Iterator[str]:
    for key in state:
        if key not in saved and key not in values:
            yield f"{key}: expected {_said(wanted.get(key))}, and it is not in the checkpoint"
        elif saved.get(key) != wanted.get(key):
            yield f"{key}: expected {_said(wanted.get(key))}, and the checkpoint has {_said(saved.get(key))}"
    for key in (*saved, *values):
        if key not in state:
            yield f"{key}: in the checkpoint, and not expected"


def _said(tensor: Mapping[str, Any] | None) -> str:
    return "a plain value" if tensor is None else f"{tensor['dtype']} {tuple(tensor['shape'])}"


@contextmanager
def _own_errors(directory: Path) -> Iterator[None]:
    """What torch tells of all ranks' errors together, and as no `Exception`, is raised as the first of them."""
    # Of one process, which is meant. A filter that stays, as others may be at work in other threads.
    warnings.filterwarnings("ignore", message="torch.distributed is disabled, unavailable or uninitialized")
    try:
        yield
    except CheckpointException as error:
        causes = [cause for cause, _ in error.failures.values()]
        cause = next((cause for cause in causes if isinstance(cause, OSError)), causes[0])
        if isinstance(cause, SafetensorError):
            msg = f"{directory} is damaged: {cause}"
            raise ValueError(msg) from error
        raise cause from error
