"""What a checkpointer promises."""

from __future__ import annotations

import io
import json
import pickletools
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from neobert.testing.context import as_options, build, late_context, temporary_context
from neobert.testing.promises import require, require_equal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from neobert.interfaces import Checkpointer

_PICKLE_BEGINS = b"\x80"


def check_checkpointer(options: Any) -> None:
    """Saves and loads states of every kind of tensor. Raises `AssertionError` for a broken promise."""
    options = as_options(options)
    with temporary_context(late_context) as context:
        checkpointer: Checkpointer = build("checkpointer", options, context)
        _check_round_trips(checkpointer, make_state())
        _check_round_trips(checkpointer, {"only.value": 1})
        _check_round_trips(checkpointer, {"only.tensor": torch.ones(3)})
        _check_template_is_left_alone(checkpointer)
        _check_strictness(checkpointer)
        _check_damage(checkpointer)


def make_state() -> dict[str, Any]:
    """A state with what makes saving hard: tied, strided and empty tensors, many dtypes, JSON values."""
    generator = torch.Generator().manual_seed(0)
    tied = torch.randn(4, 6, generator=generator)
    return {
        "encoder.embedding.weight": tied,
        "loss.decoder.weight": tied,
        "encoder.one_row": tied[2],
        "encoder.transposed": tied.T,
        "encoder.strided": torch.arange(20)[::3],
        "optimizer.w.step": torch.tensor(7.0),
        "optimizer.w.empty": torch.zeros(0, 3),
        "optimizer.w.bfloat16": torch.randn(5, generator=generator).bfloat16(),
        "optimizer.w.float16": torch.randn(5, generator=generator).half(),
        "optimizer.w.float64": torch.tensor([0.1, float("nan"), float("-inf"), -0.0], dtype=torch.float64),
        "optimizer.w.int64": torch.tensor([2**62, -(2**62)]),
        "optimizer.w.int32": torch.tensor([1, 2], dtype=torch.int32),
        "optimizer.w.uint8": torch.tensor([0, 255], dtype=torch.uint8),
        "optimizer.w.bool": torch.tensor([True, False]),
        "optimizer.w.none": None,
        "cursor": {"epoch": 1, "position": 2**53, "deep": [1, 2.5, {"text": "üñí", "yes": True, "no": None}]},
        "float": 0.1 + 0.2,
        "text": "",
        "list": [],
    }


def _check_round_trips(checkpointer: Checkpointer, state: dict[str, Any]) -> None:
    """Three times saved and loaded, a state is the same, and so is every byte of its folder."""
    folders: list[dict[str, bytes]] = []
    current = state
    for turn in range(3):
        with tempfile.TemporaryDirectory() as name:
            checkpointer.save(Path(name), current)
            folders.append(_bytes_of(Path(name)))
            current = checkpointer.load(Path(name), _blank(state))
        _require_same_state(current, state, f"after {turn + 1} times saved and loaded")
    for turn, folder in enumerate(folders[1:], start=2):
        changed = sorted(n for n in folder.keys() | folders[0].keys() if folder.get(n) != folders[0].get(n))
        require(not changed, "save -> load -> save gives the same bytes", given=f"save {turn}", found=changed)
    pickled = [name for name, content in folders[0].items() if holds_pickle(content)]
    require(not pickled, "a checkpoint holds no pickle", found=pickled)


def _check_template_is_left_alone(checkpointer: Checkpointer) -> None:
    saved: dict[str, Any] = {"w": torch.ones(3), "value": {"n": 1}}
    template: dict[str, Any] = {"w": torch.zeros(3), "value": {"n": 0}}
    with tempfile.TemporaryDirectory() as name:
        checkpointer.save(Path(name), saved)
        loaded = checkpointer.load(Path(name), template)
    require_equal(template["w"], torch.zeros(3), "load leaves the template's tensors alone: it may be refused later")
    loaded["w"].add_(1)
    require_equal(saved["w"], torch.ones(3), "what is loaded shares no memory with what was saved")


def _check_strictness(checkpointer: Checkpointer) -> None:
    state = {"a": torch.zeros(2, 3), "b": torch.zeros(4), "one": torch.zeros(1), "value": 1}

    def change(edit: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        template = dict(state)
        edit(template)
        return template

    cases: dict[str, dict[str, Any]] = {
        "a tensor that was never saved": change(lambda t: t.update(c=torch.zeros(1))),
        "a value that was never saved": change(lambda t: t.update(other=None)),
        "a saved tensor that is not expected": change(lambda t: t.pop("b")),
        "a saved value that is not expected": change(lambda t: t.pop("value")),
        "another shape": change(lambda t: t.update(a=torch.zeros(3, 2))),
        "a shape that would broadcast to the saved one": change(lambda t: t.update(b=torch.zeros(1))),
        "a shape that the saved one would broadcast to": change(lambda t: t.update(one=torch.zeros(4))),
        "another dtype": change(lambda t: t.update(b=torch.zeros(4, dtype=torch.float64))),
        "a tensor where a value was saved": change(lambda t: t.update(value=torch.zeros(()))),
        "a value where a tensor was saved": change(lambda t: t.update(b=None)),
    }
    with tempfile.TemporaryDirectory() as name:
        checkpointer.save(Path(name), state)
        for what, template in cases.items():
            promise = "load raises when the state is not the expected one"
            require(_raises(checkpointer, Path(name), template), promise, given=what, found="a loaded state")


def _check_damage(checkpointer: Checkpointer) -> None:
    state = make_state()
    with tempfile.TemporaryDirectory() as name:
        checkpointer.save(Path(name), state)
        for file in [path for path in Path(name).rglob("*") if path.is_file()]:
            content = file.read_bytes()
            if content:
                file.write_bytes(content[: len(content) // 2])
                promise = "load raises when a file was cut short"
                require(_raises(checkpointer, Path(name), _blank(state)), promise, given=file.name)
            file.unlink()
            promise = "load raises when a file is missing"
            require(_raises(checkpointer, Path(name), _blank(state)), promise, given=file.name)
            file.write_bytes(content)


def holds_pickle(content: bytes) -> bool:
    """Whether a file is a pickle, or an archive (torch's own among them) with one in it; numpy's archives have none."""
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return any(holds_pickle(archive.read(name)) for name in archive.namelist())
    if not content.startswith(_PICKLE_BEGINS):
        return False
    try:
        return all(True for _ in pickletools.genops(content))
    except Exception:
        return False  # bytes that only begin like one


def _raises(checkpointer: Checkpointer, directory: Path, template: Mapping[str, Any]) -> bool:
    try:
        checkpointer.load(directory, template)
    except Exception:
        return True
    return False


def _require_same_state(found: Mapping[str, Any], expected: Mapping[str, Any], given: str) -> None:
    promise = "what is loaded is what was saved"
    require(found.keys() == expected.keys(), promise, given=given, found=sorted(found))
    for key, value in expected.items():
        if isinstance(value, Tensor):
            require(isinstance(found[key], Tensor), f"{promise} ({key})", given=given, found=type(found[key]))
            require_equal(found[key].detach(), value.detach(), f"{promise} ({key})", given=given)
        else:
            # As JSON, 1 is not 1.0 or true, and the order of a mapping's keys is no matter.
            same = json.dumps(found[key], sort_keys=True) == json.dumps(value, sort_keys=True)
            require(same, f"{promise} ({key})", given=given, found=found[key])


def _blank(state: Mapping[str, Any]) -> dict[str, Any]:
    return {key: torch.zeros_like(v) if isinstance(v, Tensor) else None for key, v in state.items()}


def _bytes_of(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }
