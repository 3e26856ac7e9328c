"""SIGTERM and SIGINT finish the step, save, and leave; a second one leaves at once."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType


class StopSignal:
    """Inside its ``with``, remembers the first signal to stop. ``number`` is 0 while there is none."""

    def __init__(self) -> None:
        self.number = 0
        self._before: dict[int, object] = {}

    @property
    def exit_status(self) -> int:
        """128 + the signal: 143 for SIGTERM, 130 for SIGINT."""
        return 128 + self.number

    def __enter__(self) -> StopSignal:
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
            raise SystemExit(128 + number)
        self.number = number
