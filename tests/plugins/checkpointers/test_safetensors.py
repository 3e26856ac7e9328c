"""The safetensors checkpointer: exact, strict, and the same bytes for the same state."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from neobert import BuildContext
from neobert_plugins.checkpointers import Safetensors

TIED = torch.arange(12, dtype=torch.float32).view(3, 4)
STATE = {
    "encoder.tied": TIED,
    "loss.tied": TIED,
    "a.row_of_the_tied": TIED[1],
    "a.transposed": TIED.T,
    "a.strided": torch.arange(10)[::3],
    "a.scalar": torch.tensor(7.0, dtype=torch.float32),
    "a.empty": torch.zeros(0, 5),
    "b.empty": torch.zeros(0),
    "a.bfloat16": torch.tensor([1.5, float("nan"), float("inf")]).bfloat16(),
    "a.int64": torch.tensor([2**62, -1]),
    "a.bool": torch.tensor([True, False]),
    "a.float64": torch.tensor([0.1], dtype=torch.float64),
    "a.parameter": torch.nn.Parameter(torch.ones(2)),
    "value.none": None,
    "value.nested": {"x": [1, 2.5, {"y": "z"}], "true": True},
    "value.float": 0.1 + 0.2,
}


def make(rank: int = 0):
    context = BuildContext(
        seed=0,
        device=torch.device("cpu"),
        rank=rank,
        world_size=2,
        run_directory=Path("unused"),
        max_seq_length=8,
        max_steps=10,
    )
    return Safetensors().build(context)


def blank(state):
    return {k: torch.zeros_like(v) if torch.is_tensor(v) else None for k, v in state.items()}


def files(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_what_is_loaded_is_what_was_saved(tmp_path):
    make().save(tmp_path, STATE)
    loaded = make().load(tmp_path, blank(STATE))
    assert list(loaded) == list(STATE)
    for key, value in STATE.items():
        if torch.is_tensor(value):
            assert loaded[key].dtype == value.dtype, key
            assert torch.equal(loaded[key].nan_to_num(), value.detach().nan_to_num()), key
            assert torch.equal(loaded[key].isnan(), value.isnan()), key
        else:
            assert loaded[key] == value, key


def test_save_load_save_gives_the_same_bytes_in_any_order_of_keys(tmp_path):
    first, second = tmp_path / "1", tmp_path / "2"
    first.mkdir()
    second.mkdir()
    make().save(first, STATE)
    loaded = make().load(first, STATE)
    make().save(second, dict(reversed(loaded.items())))
    assert files(first) == files(second)
    assert set(files(first)) == {"state.safetensors", "state.json"}


def test_the_template_is_left_as_it_is_and_nothing_is_shared(tmp_path):
    make().save(tmp_path, {"w": torch.ones(3)})
    template = {"w": torch.zeros(3)}
    loaded = make().load(tmp_path, template)
    assert torch.equal(template["w"], torch.zeros(3))
    (tmp_path / "state.safetensors").write_bytes(b"")
    loaded["w"] += 1
    assert torch.equal(loaded["w"], torch.full((3,), 2.0))


def test_every_difference_is_named_at_once(tmp_path):
    saved = {
        "shape": torch.zeros(2),
        "dtype": torch.zeros(2),
        "extra": torch.zeros(1),
        "value": 1,
        "other": 2,
    }
    wanted = {
        "shape": torch.zeros(3),
        "dtype": torch.zeros(2, dtype=torch.int64),
        "missing": torch.zeros(1),
        "value": torch.zeros(1),
        "absent": None,
    }
    make().save(tmp_path, saved)
    with pytest.raises(ValueError, match="expected state") as caught:
        make().load(tmp_path, wanted)
    text = str(caught.value)
    for key in ("shape", "dtype", "extra", "value", "other", "missing", "absent"):
        assert sum(line.startswith(f"  {key}:") for line in text.splitlines()) == 1, key
    assert "expected float32 (3,), and the checkpoint has float32 (2,)" in text


def test_a_tensor_where_a_value_is_expected_is_refused(tmp_path):
    make().save(tmp_path, {"key": torch.zeros(2)})
    with pytest.raises(ValueError, match="key: a tensor in the checkpoint, where a plain value"):
        make().load(tmp_path, {"key": None})


@pytest.mark.parametrize("value", [(1, 2), float("nan"), {1: 2}, object(), {"x": (1,)}])
def test_what_json_would_change_is_refused(tmp_path, value):
    with pytest.raises(TypeError, match="odd"):
        make().save(tmp_path, {"odd": value})


def test_other_ranks_write_nothing_and_read_the_same(tmp_path):
    make(rank=1).save(tmp_path, STATE)
    assert files(tmp_path) == {}
    make(rank=0).save(tmp_path, {"w": torch.ones(2)})
    assert torch.equal(make(rank=1).load(tmp_path, {"w": torch.zeros(2)})["w"], torch.ones(2))


@pytest.mark.parametrize("name", ["state.safetensors", "state.json"])
def test_a_damaged_file_is_named(tmp_path, name):
    make().save(tmp_path, STATE)
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=rf"{name} is damaged"):
        make().load(tmp_path, STATE)


def test_values_are_readable_json(tmp_path):
    make().save(tmp_path, STATE)
    assert json.loads((tmp_path / "state.json").read_text())["value.float"] == 0.1 + 0.2
