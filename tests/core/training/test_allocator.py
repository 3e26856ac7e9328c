"""Freed memory stays with a process that says so; told in a process of its own, for it cannot be taken back."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

CODE = """
from pathlib import Path
import resource
from neobert.training.allocator import keep_freed_memory

KEEP
taken = bytearray(b"x") * (96 << 20)
del taken
print(int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() >> 20)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_what_is_freed_stays() -> None:
    kept, given_back = (_megabytes_after(said) for said in ("assert keep_freed_memory()", ""))
    assert kept > given_back + 90


def _megabytes_after(said: str) -> int:
    code = CODE.replace("KEEP", said)
    return int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
