"""Processes that do not run the script of the one that starts them.

Python imports that script into every process it starts anew, and one without ``if __name__ == "__main__"`` would begin
its work again there. Ours need nothing of it: so `neobert.run` may stand in any script, and they start sooner.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_all_start_methods
from multiprocessing.context import BaseContext, ForkServerProcess, SpawnProcess
from threading import RLock
from typing import Any

_hiding = RLock()


@contextmanager
def _script_hidden() -> Iterator[None]:
    """Inside, nothing says which file the script is."""
    with _hiding:
        script: dict[str, Any] = vars(sys.modules["__main__"])
        said: dict[str, Any] = {name: script[name] for name in ("__file__", "__spec__") if name in script}
        script.pop("__file__", None)
        script["__spec__"] = None
        try:
            yield
        finally:
            script.pop("__spec__")
            script.update(said)


class FreshSpawn(SpawnProcess):
    """A process of its own from the start."""

    @staticmethod
    def _Popen(process_obj: Any) -> Any:  # noqa: N802
        with _script_hidden():
            return SpawnProcess._Popen(process_obj)


class FreshForkServer(ForkServerProcess):
    """A process forked from a server that has imported what was asked for, and nothing else."""

    @staticmethod
    def _Popen(process_obj: Any) -> Any:  # noqa: N802
        with _script_hidden():
            return ForkServerProcess._Popen(process_obj)


class _Spawn(BaseContext):
    _name = "spawn"
    Process = FreshSpawn


class _ForkServer(BaseContext):
    _name = "forkserver"
    Process = FreshForkServer


def spawning() -> BaseContext:
    """Each process is started from nothing."""
    return _Spawn()


def serving(preload: list[str]) -> BaseContext:
    """Processes that inherit no threads and no locks; a server that has imported ``preload`` starts them quickly, where
    the system has one."""
    if "forkserver" not in get_all_start_methods():
        return _Spawn()
    context = _ForkServer()
    context.set_forkserver_preload(preload)
    return context
