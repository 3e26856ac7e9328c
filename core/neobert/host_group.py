"""A group of processes that carries the host's tensors, whatever carries those of the device."""

from __future__ import annotations

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
        _made[:] = [(dist.group.WORLD, dist.new_group(backend="gloo"))]
    return _made[0][1]
