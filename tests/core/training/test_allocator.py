"""Freed memory stays with a process that says so; told in processes of their own, for it cannot be taken back."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

CODE = """
from pathlib import Path
import resource
import torch
from neobert.training.allocator import keep_after_first_step, keep_freed_memory, keep_memory_apart

SAID
taken = bytearray(b"x") * (96 << 20)
del taken
print(int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() >> 20)
"""


STEP = """
assert keep_memory_apart()
weight = torch.nn.Parameter(torch.zeros(4))
optimizer = torch.optim.Adam([weight])
keep_after_first_step(optimizer)
"""
needs_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")


@needs_glibc
def test_what_is_freed_stays() -> None:
    kept, given_back = (_megabytes_after(said) for said in ("assert keep_freed_memory()", "assert keep_memory_apart()"))
    assert kept > given_back + 90


@needs_glibc
def test_it_stays_from_the_first_step_on() -> None:
    after, before = (_megabytes_after(STEP + said) for said in ("weight.sum().backward(); optimizer.step()", ""))
    assert after > before + 90


def _megabytes_after(said: str) -> int:
    code = CODE.replace("SAID", said)
    return int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
