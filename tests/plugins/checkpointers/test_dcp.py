"""The checkpointer over torch.distributed.checkpoint; `test_many_ranks.py` has several processes, and parts."""

from __future__ import annotations

import json
import logging

import pytest
import torch
from tests.plugins.checkpointers.test_sharded import STATE

from neobert.testing import check_checkpointer
from neobert.testing.checkpointer import holds_pickle
from neobert.testing.context import late_context, temporary_context
from neobert_plugins.checkpointers import DCP

FILE = "shard-00001-model-00001-of-00001.safetensors"


@pytest.fixture
def dcp():
    with temporary_context(late_context) as context:
        yield DCP().build(context)


def blank(state):
    return {key: torch.zeros_like(value) if torch.is_tensor(value) else None for key, value in state.items()}


def test_it_keeps_what_every_checkpointer_promises():
    check_checkpointer(DCP())


def test_safetensors_and_json_and_nothing_else(dcp, tmp_path):
    dcp.save(tmp_path, STATE)
    assert {path.name for path in tmp_path.iterdir()} == {FILE, "state.json"}
    assert not any(holds_pickle(path.read_bytes()) for path in tmp_path.iterdir())
    assert json.loads((tmp_path / "state.json").read_text())["values"] == {"step": 3, "none": None}


def test_every_difference_is_told_at_once(dcp, tmp_path):
    dcp.save(tmp_path, STATE)
    other = blank(STATE) | {"w0": torch.zeros(2, 8), "w1": torch.zeros(2, 8, dtype=torch.int64), "new": None}
    del other["w2"]
    with pytest.raises(ValueError, match="does not hold the expected state") as refused:
        dcp.load(tmp_path, other)
    assert str(refused.value).splitlines()[1:] == [
        "  new: expected a plain value, and it is not in the checkpoint",
        "  w0: expected float32 (2, 8), and the checkpoint has float32 (1, 8)",
        "  w1: expected int64 (2, 8), and the checkpoint has float32 (2, 8)",
        "  w2: in the checkpoint, and not expected",
    ]


def test_a_file_too_few_or_cut_short_is_named(dcp, tmp_path, caplog):
    dcp.save(tmp_path, STATE)
    content = (tmp_path / FILE).read_bytes()
    with caplog.at_level(logging.WARNING):
        (tmp_path / FILE).write_bytes(content[:100])
        with pytest.raises(ValueError, match=f"{FILE} is damaged: "):
            dcp.load(tmp_path, blank(STATE))
        (tmp_path / FILE).unlink()
        with pytest.raises(ValueError, match=rf"was saved as \['{FILE}'\], and there is \[\]"):
            dcp.load(tmp_path, blank(STATE))
        (tmp_path / "state.json").write_text('{"files": 3, "tensors": {}, "values": {}}')
        with pytest.raises(ValueError, match="is not one of the checkpointer `dcp`"):
            dcp.load(tmp_path, blank(STATE))
    told = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert not told, "torch has no traceback to tell"
