"""The sharded checkpointer: a file a rank, and any number of ranks reads what any number has written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from neobert import BuildContext
from neobert.testing import check_checkpointer
from neobert_plugins.checkpointers import Sharded
from neobert_plugins.checkpointers.sharded_files import shared_out

STATE = {f"w{number}": torch.full((number + 1, 8), float(number)) for number in range(9)} | {"step": 3, "none": None}


def make(rank, ranks):
    context = BuildContext(
        seed=0,
        device=torch.device("cpu"),
        rank=rank,
        world_size=ranks,
        run_directory=Path("unused"),
        max_seq_length=8,
        max_steps=10,
    )
    return Sharded().build(context)


def save(directory, ranks):
    for rank in reversed(range(ranks)):
        make(rank, ranks).save(directory, STATE)


def test_it_keeps_what_every_checkpointer_promises():
    check_checkpointer(Sharded())


@pytest.mark.parametrize("ranks", [1, 2, 4, 20])
def test_any_number_of_ranks_reads_it(tmp_path, ranks):
    save(tmp_path, ranks)
    blank = {key: torch.zeros_like(value) if torch.is_tensor(value) else None for key, value in STATE.items()}
    for readers in (1, 3):
        loaded = make(readers - 1, readers).load(tmp_path, blank)
        assert list(loaded) == list(STATE)
        assert all(
            torch.equal(loaded[key], value) if torch.is_tensor(value) else loaded[key] == value
            for key, value in STATE.items()
        )
    sizes = [path.stat().st_size for path in tmp_path.glob("*.safetensors")]
    assert len(sizes) == ranks


def test_every_tensor_goes_to_one_rank_and_no_rank_to_many_more_bytes():
    tensors = {key: value for key, value in STATE.items() if torch.is_tensor(value)}
    shares = shared_out(tensors, 3)
    assert sorted(key for share in shares for key in share) == sorted(tensors)
    sizes = [sum(tensors[key].nbytes for key in share) for share in shares]
    assert max(sizes) - min(sizes) <= max(value.nbytes for value in tensors.values())


def test_it_reads_no_file_outside_its_folder(tmp_path):
    save(tmp_path, 1)
    file = tmp_path / "state.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps(content | {"files": ["../state-00001-of-00001.safetensors"]}))
    with pytest.raises(ValueError, match="names files that no checkpoint has"):
        make(0, 1).load(tmp_path, STATE)
