"""How this process keeps memory between steps.

glibc gives large blocks back to the system when they are freed and asks for them again a moment later, and the
system hands out each page anew, zeroed. A training step frees and takes the same hundreds of megabytes every time.

What lasts for the whole run (weights, the optimizer's state) is made before the end of the first step. It gets pages
of its own, so that it does not lie about in the memory that the steps after it share: there a block that stays would
split what was one free stretch, and the heap would grow by another.
"""

from __future__ import annotations

import ctypes
import functools
import platform

import torch

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -2, -3, -4, -8
"""From glibc's malloc.h."""
_NEVER = -1
_DEFAULTS = {M_MMAP_MAX: 65536, M_TRIM_THRESHOLD: 128 << 10, M_TOP_PAD: 128 << 10, M_ARENA_MAX: 0}
"""glibc's own, from its malloc.c; it tells nobody what they are set to."""
_told: dict[int, int] = {}
"""What glibc was told."""
TOP_PAD = 64 << 20
"""Bytes that the heap grows by at least."""
LARGE = 128 << 10
"""Bytes of the smallest block with pages of its own: glibc's default, which it would raise by itself."""


def has_glibc() -> bool:
    """Whether this process's memory comes from glibc."""
    return platform.libc_ver()[0] == "glibc"


def keep_memory_apart() -> bool:
    """Has glibc give each large block pages of its own, which go when it is freed; False where there is no glibc.

    All threads share one heap: what one of them freed, any other takes.
    """
    return has_glibc() and _set({M_MMAP_THRESHOLD: LARGE, M_ARENA_MAX: 1})


@functools.cache
def keep_freed_memory() -> bool:
    """Has glibc keep what is freed for what is next asked for; False where there is no glibc."""
    return has_glibc() and _set({M_MMAP_MAX: 0, M_TRIM_THRESHOLD: _NEVER, M_TOP_PAD: TOP_PAD})


def keep_memory_as_usual() -> None:
    """Takes back what `keep_memory_apart` and `keep_freed_memory` set, and gives the system what is free. It does
    nothing where they did nothing."""
    if _told:
        _set(_DEFAULTS)
        _told.clear()
        keep_freed_memory.cache_clear()
        _libc().malloc_trim(0)


def keep_after_first_step(optimizer: torch.optim.Optimizer) -> None:
    """Calls `keep_freed_memory` once the optimizer has made its state."""

    def keep(*_: object) -> None:
        # A hook cannot take itself away while there are others: what this calls does something once only.
        keep_freed_memory()

    optimizer.register_step_post_hook(keep)


def _set(settings: dict[int, int]) -> bool:
    mallopt = _libc().mallopt
    _told.update(settings)
    return {mallopt(parameter, value) for parameter, value in settings.items()} == {1}


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)
