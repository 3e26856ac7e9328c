"""Two processes with a part of the batch each are one process with all of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from neobert.contrast import gathered, own

PROGRAM = Path(__file__).with_name("one_rank.py")


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """``{"one": ..., "first": ..., "second": ...}``: what the only process and what two came to."""
    folder = tmp_path_factory.mktemp("ranks")
    started = [(0, 2), (1, 2), (0, 1)]
    processes = [
        subprocess.Popen([sys.executable, PROGRAM, str(rank), str(ranks), folder], stderr=subprocess.PIPE, text=True)
        for rank, ranks in started
    ]
    said = [process.communicate(timeout=600)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], said
    names = ("first", "second", "one")
    return {
        name: load_file(folder / f"{rank}-of-{ranks}.safetensors")
        for name, (rank, ranks) in zip(names, started, strict=True)
    }


@pytest.mark.parametrize("split", ["halves", "uneven", "one has none"])
@pytest.mark.parametrize("loss", ["info_nce", "in chunks", "both ways", "supcon", "cosent", "matryoshka"])
def test_totals_counts_metrics_and_gradients_are_those_of_one_process(found, split, loss):
    names = [name for name in found["one"] if name.startswith(f"{split}/{loss}/")]
    assert any("gradient encoder" in name for name in names)
    for name in names:
        expected = found["one"][name]
        torch.testing.assert_close(found["first"][name], expected, rtol=1e-10, atol=1e-12, msg=name)
        assert torch.equal(found["first"][name], found["second"][name])
    assert found["one"][f"{split}/{loss}/total"] != 0


@pytest.mark.parametrize("split", ["halves", "uneven"])
def test_chunks_with_dropout_on_two_ranks_are_one_process_that_keeps_everything(found, split):
    names = [name for name in found["one"] if name.startswith(f"{split}/dropout/")]
    assert len(names) > 10
    for name in names:
        torch.testing.assert_close(found["first"][name], found["one"][name], rtol=1e-10, atol=1e-12, msg=name)


def test_rows_come_rank_after_rank_and_their_gradients_go_back(found):
    vectors, numbers, start, grad, none = (found["second"][f"rows/1/{number}"] for number in range(5))
    assert vectors[:, 0].tolist() == [10.0, 10.0, 20.0, 20.0, 20.0]
    assert numbers.tolist() == [0, 1, 0, 1, 2]
    assert start == 2
    # Row i of all weighs i on the first rank and 2 i on the second.
    assert grad[:, 0].tolist() == [6.0, 9.0, 12.0]
    assert found["first"]["rows/0/3"][:, 0].tolist() == [0.0, 3.0]
    assert none.shape == (0, 2)


def test_one_process_has_its_own_rows_alone():
    rows = torch.randn(3, 2, requires_grad=True)
    for made in (gathered(rows), own(rows)):
        assert made.tensors[0] is rows
        assert (made.start, len(made)) == (0, 3)
