"""How this process keeps memory between steps.

glibc gives large blocks back to the system when they are freed and asks for them again a moment later, and the
system hands out each page anew, zeroed. A training step frees and takes the same hundreds of megabytes every time.
"""

from __future__ import annotations

import ctypes
import platform

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX, M_ARENA_MAX = -1, -2, -4, -8
"""From glibc's malloc.h."""
_NEVER = -1
TOP_PAD = 64 << 20
"""Bytes that the heap grows by at least."""


def keep_freed_memory() -> bool:
    """Has glibc keep what is freed for what is next asked for; False where there is no glibc.

    All threads share one heap then: what one of them freed, any other takes.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    settings = {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: _NEVER, M_TOP_PAD: TOP_PAD, M_ARENA_MAX: 1}
    return {mallopt(parameter, value) for parameter, value in settings.items()} == {1}
