"""SIGTERM and SIGINT finish the step, save, and leave; a second one leaves at once, as it would outside a run."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from types import FrameType, TracebackType

from neobert.errors import Terminated

STDERR = 2


class StopSignal:
    """Inside its ``with``, remembers the first signal to stop. ``number`` is 0 while there is none. In a thread that is
    not the main one there is none ever: Python gives signals to the main one alone.

    Of many processes (``alone`` is false), none stops before all know of it: see `agree`.
    """

    def __init__(self, *, alone: bool = True) -> None:
        self.number = 0
        self._alone = alone
        self._agreed = 0
        self._before: dict[int, object] = {}

    @property
    def exit_status(self) -> int:
        """128 + the signal: 143 for SIGTERM, 130 for SIGINT."""
        return 128 + self.due

    @property
    def due(self) -> int:
        """The signal to stop for after this step; 0 while there is none."""
        return self.number if self._alone else self._agreed

    def agree(self, number: int) -> None:
        """What all processes know of: a signal that one of them got, or 0."""
        self._agreed = number

    def __enter__(self) -> StopSignal:
        if threading.current_thread() is not threading.main_thread():
            return self
        for number in (signal.SIGTERM, signal.SIGINT):
            self._before[number] = signal.signal(number, self._remember)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if self.number:
            raise Terminated if number == signal.SIGTERM else KeyboardInterrupt
        self.number = number
        with suppress(OSError):
            # Not through a buffered stream: the signal may have come in the midst of a print to it.
            os.write(STDERR, b"stopping: this step is finished and saved first; a second signal leaves at once\n")
