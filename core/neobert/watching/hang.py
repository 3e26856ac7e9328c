"""Notices that a run stands still, and says where: the stack of every thread, once for each time as long again."""

from __future__ import annotations

import faulthandler
import os
import time
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from types import TracebackType

STACKS = "stacks.txt"
STDERR = 2
_SHORTEST_WAIT = 0.01


class HangWatch:
    """Inside its ``with``, prints all stacks to stderr and into the run's folder when nothing was heard for ``timeout``
    seconds, after twice that again, and so on. It ends nothing: a file system that comes back lets the run go on.

    A thread of its own; it says nothing while some library holds the interpreter's lock and does not return.
    """

    def __init__(self, folder: Path, timeout: float) -> None:
        self._file, self._timeout = folder / STACKS, timeout
        self._due = timeout
        self._heard = time.monotonic()
        self._said = "no step yet"
        self._over = Event()
        self._thread = Thread(target=self._watch, name="neobert-hang", daemon=True)

    def __enter__(self) -> HangWatch:
        self._heard = time.monotonic()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def heard(self, what: str) -> None:
        """Something was finished or begun: ``what``."""
        late, self._heard, self._said = self._due > self._timeout, time.monotonic(), what
        if late:
            self._due = self._timeout
            _write(STDERR, f"neobert: it goes on: {what}\n")

    def _watch(self) -> None:
        while not self._over.wait(max(self._due - self._silence, _SHORTEST_WAIT)):
            if self._silence >= self._due:
                self._report()
                self._due *= 2

    @property
    def _silence(self) -> float:
        return time.monotonic() - self._heard

    def _report(self) -> None:
        head = (
            f"neobert: nothing was finished for {self._silence:.0f} s (trainer.hang_timeout = {self._timeout:g}); "
            f"last: {self._said}. Process {os.getpid()}; the stack of every thread, also in {self._file}:\n"
        )
        _dump(STDERR, head)
        with suppress(OSError), self._file.open("ab", buffering=0) as file:
            _dump(file.fileno(), f"{time.strftime('%Y-%m-%d %H:%M:%S')} {head}")


def _dump(descriptor: int, head: str) -> None:
    _write(descriptor, head)
    with suppress(OSError):
        faulthandler.dump_traceback(descriptor, all_threads=True)


def _write(descriptor: int, text: str) -> None:
    """Not through a buffered stream, whose lock the thread that hangs may hold."""
    with suppress(OSError):
        os.write(descriptor, text.encode("utf-8", "backslashreplace"))
