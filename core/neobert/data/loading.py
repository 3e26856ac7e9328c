"""How batches are loaded where a recipe leaves it open: what keeps this device fed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve

if TYPE_CHECKING:
    from neobert.served import DatasetKeys

WORKERS = 4
"""Workers of one GPU, where there are as many cores: more have nothing to do unless a collator is slow."""


def settle_loading(keys: DatasetKeys, device_type: str, cores: int) -> tuple[DatasetKeys, tuple[str, ...]]:
    """The keys with every value settled that says how batches are loaded, and what there is to say about it.

    CUDA: up to `WORKERS` workers, which stay, and page-locked memory. Elsewhere batches are made in the loop: a CPU
    has no time to spare.
    """
    cuda = device_type == "cuda"
    pinned = cuda if keys.pin_memory is None else keys.pin_memory and device_type != "cpu"
    workers = keys.num_workers if keys.num_workers is not None else (min(WORKERS, cores) if cuda else 0)
    settled = evolve(
        keys,
        num_workers=workers,
        pin_memory=pinned,
        persistent_workers=workers > 0 if keys.persistent_workers is None else keys.persistent_workers,
        prefetch_factor=2 if keys.prefetch_factor is None and workers else keys.prefetch_factor,
    )
    notes = _slow(settled, cuda, cores)
    if keys.pin_memory and not pinned:
        notes.append(
            "dataset.pin_memory = true is left out: page-locked memory is for copies to a GPU, and none is used"
        )
    if cuda and (chosen := _chosen(keys, settled)):
        notes.insert(0, f"data loading, chosen for CUDA: {', '.join(chosen)}")
    return settled, tuple(notes)


def _chosen(keys: DatasetKeys, settled: DatasetKeys) -> list[str]:
    names = ("num_workers", "pin_memory", "persistent_workers", "prefetch_factor")
    unset = [name for name in names if getattr(keys, name) is None and getattr(settled, name)]
    return [f"dataset.{name} = {str(getattr(settled, name)).lower()}" for name in unset]


def _slow(keys: DatasetKeys, cuda: bool, cores: int) -> list[str]:
    """What was set and costs speed, a line each."""
    workers = keys.num_workers or 0
    found = []
    if cuda and not workers:
        found.append("dataset.num_workers = 0 is slow: the GPU waits while the loop makes each batch")
    if cuda and not keys.pin_memory:
        found.append("dataset.pin_memory = false is slow: every copy to the GPU waits for the one before")
    if workers > cores:
        found.append(f"dataset.num_workers = {workers} is slow: only {cores} cores are here, and the loop needs one")
    idle = [f"dataset.{name}" for name in ("prefetch_factor", "persistent_workers") if getattr(keys, name)]
    if idle and not workers:
        found.append(f"without workers nothing comes of {' and '.join(idle)}; set dataset.num_workers")
    return found
