"""How batches are loaded where the recipe leaves it open."""

from __future__ import annotations

import pytest

from neobert.data.loading import settle_loading
from neobert.served import DatasetKeys


def test_cuda_is_fed_where_nothing_is_set_and_one_line_says_so():
    keys, (note,) = settle_loading(DatasetKeys(), "cuda", 16)
    assert (keys.num_workers, keys.pin_memory, keys.persistent_workers, keys.prefetch_factor) == (4, True, True, 2)
    assert note == (
        "data loading, chosen for CUDA: dataset.num_workers = 4, dataset.pin_memory = true, "
        "dataset.persistent_workers = true, dataset.prefetch_factor = 2"
    )
    assert settle_loading(DatasetKeys(), "cuda", 2)[0].num_workers == 2


def test_a_cpu_makes_batches_in_the_loop_and_says_nothing():
    keys, notes = settle_loading(DatasetKeys(), "cpu", 16)
    assert (keys.num_workers, keys.pin_memory, keys.persistent_workers, keys.prefetch_factor) == (0, False, False, None)
    assert notes == ()


def test_what_was_set_stays():
    wanted = DatasetKeys(num_workers=7, pin_memory=False, persistent_workers=False, prefetch_factor=5)
    for device in ("cpu", "cuda"):
        assert settle_loading(wanted, device, 16)[0] == wanted


@pytest.mark.parametrize(
    ("device", "wanted", "fragments"),
    [
        ("cuda", {"num_workers": 0}, ("dataset.pin_memory = true", "num_workers = 0 is slow")),
        ("cuda", {"pin_memory": False}, ("dataset.num_workers = 4", "pin_memory = false is slow")),
        ("cpu", {"num_workers": 9}, ("only 8 cores are here",)),
        ("cpu", {"prefetch_factor": 4}, ("without workers nothing comes of dataset.prefetch_factor;",)),
        ("cpu", {"num_workers": 2, "prefetch_factor": 4}, ()),
        ("cpu", {"pin_memory": True}, ("pin_memory = true is left out",)),
    ],
)
def test_what_is_slow_or_idle_is_said(device, wanted, fragments):
    notes = settle_loading(DatasetKeys(**wanted), device, 8)[1]
    assert len(notes) == len(fragments)
    for note, fragment in zip(notes, fragments, strict=True):
        assert fragment in note
