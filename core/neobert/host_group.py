"""A group of processes that carries the host's tensors, whatever carries those of the device."""

from __future__ import annotations

from typing import Any

import torch
from torch import distributed as dist

_made: list[tuple[dist.ProcessGroup | None, dist.ProcessGroup]] = []
"""The last group made for the host's tensors, with the usual group that it was made for."""


def many_processes() -> bool:
    """Whether this process is one of several that talk to each other."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def host_group() -> dist.ProcessGroup | None:
    """None where the usual group does it; else one made for it, at the first call, which every rank has to make."""
    if "cpu:" in dist.get_backend_config():
        return None
    if not _made or _made[0][0] is not dist.group.WORLD:
        _made[:] = [(dist.group.WORLD, new_host_group())]
    return _made[0][1]


def new_host_group() -> dist.ProcessGroup:
    """Another group of all processes for the host's tensors: a line of its own, which every rank has to ask for. It
    waits as long as the usual group does."""
    world = dist.group.WORLD
    assert world is not None, "there is one process"
    usual: Any = world._get_backend(torch.device("cpu" if "cpu:" in dist.get_backend_config() else "cuda"))
    made: dist.ProcessGroup = dist.new_group(backend="gloo", timeout=usual.options._timeout)
    return made
