"""What a person sees of a run in a notebook: one progress bar that moves, below what was said before.

IPython's own displays do it, which every notebook has: no widgets, and nothing to install.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import timedelta
from html import escape
from typing import Any

from rich.console import Console

from neobert.training.display import Display, shown_numbers

BETWEEN = 0.2
"""Seconds between two moves of the bar: each is a message to the browser."""


class NotebookDisplay(Display):
    """A bar with step, loss, tokens/s and time left; notes and evaluations are lines of their own."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._handle: Any = None
        self._step = 0
        self._text = ""
        self._moved = 0.0

    def start(self, max_steps: int, step: int) -> None:
        from IPython.display import display

        super().start(max_steps, step)
        self._step = step
        self._handle = display(self._shown(), raw=True, display_id=True)

    def go_back(self, step: int) -> None:
        super().go_back(step)
        self._move(step)

    def step(self, step: int) -> None:
        self._step = step
        if time.monotonic() - self._moved >= BETWEEN:
            self._move(step)

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        self._text = shown_numbers(metrics)
        self._move(step)

    def stop(self) -> None:
        if self._handle is not None:
            self._move(self._step)
            self._handle = None

    def _move(self, step: int) -> None:
        self._step, self._moved = step, time.monotonic()
        if self._handle is not None:
            self._handle.update(self._shown(), raw=True)

    def _shown(self) -> dict[str, str]:
        """The bar in both forms that a notebook may show; it is saved with the second one too."""
        said = f"step {self._step}/{self._max_steps}  {self._text}{self._time()}"
        bar = f'<progress value="{self._step}" max="{self._max_steps}" style="width: 20em"></progress>'
        return {"text/html": f"{bar} <code>{escape(said)}</code>", "text/plain": said}

    def _time(self) -> str:
        gone = time.monotonic() - self._started
        done = self._step - self._first_step
        if done < 1:
            return ""
        left = timedelta(seconds=round(gone / done * (self._max_steps - self._step)))
        return f"  {timedelta(seconds=round(gone))} gone, {left} left"
