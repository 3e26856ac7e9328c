"""What a person sees while a run goes: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from neobert.wording import figure_text

NOTICEABLE_WAIT = 0.05
"""Share of the time from which on waiting for data is shown."""


class Display:
    """Plain lines: one for each log, evaluation and note."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def start(self, max_steps: int, step: int) -> None:
        """Called once the steps begin."""
        self._max_steps = max_steps
        self._first_step = step
        self._started = time.monotonic()

    def go_back(self, step: int) -> None:
        """Called where the run goes on from an earlier step."""
        self._first_step = step
        self._started = time.monotonic()

    def step(self, step: int) -> None:
        """Called after every step."""

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """A log line's numbers."""
        seconds = (time.monotonic() - self._started) / (step - self._first_step) * (self._max_steps - step)
        left = timedelta(seconds=round(seconds))
        self.note(f"step {step}/{self._max_steps}  {shown_numbers(metrics)}  left {left}")

    def evaluation(self, means: Mapping[str, float], step: int, of: str = "") -> None:
        """An evaluation's numbers."""
        parts = "  ".join(f"{name} {figure_text(name, value)}" for name, value in means.items())
        self.note(f"step {step}  held-out {of}{parts}")

    def note(self, text: str) -> None:
        """One thing to know. User text is never parsed as markup, and lines are not cut."""
        self.console.print(Text(text), soft_wrap=True)

    def stop(self) -> None:
        """Called when the steps are over, however they end."""


class LiveDisplay(Display):
    """A progress line that stays at the bottom, with step, loss, tokens/s and time left."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._progress: Progress | None = None
        self._task = TaskID(0)

    def start(self, max_steps: int, step: int) -> None:
        super().start(max_steps, step)
        self._progress = Progress(
            TextColumn("step"),
            MofNCompleteColumn(),
            BarColumn(),
            TextColumn("{task.fields[numbers]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
        )
        self._task = self._progress.add_task("train", total=max_steps, completed=step, numbers="")
        self._progress.start()

    def go_back(self, step: int) -> None:
        super().go_back(step)
        self.step(step)

    def step(self, step: int) -> None:
        if self._progress is not None:
            self._progress.update(self._task, completed=step)

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        if self._progress is not None:
            self._progress.update(self._task, numbers=shown_numbers(metrics))

    def stop(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


def make_display(console: Console, *, silent: bool = False) -> Display:
    """Live on a terminal and in a notebook, plain elsewhere. ``silent``: it shows nothing, as another process shows it
    all."""
    if silent:
        return Display(Console(quiet=True, highlight=False))
    if console.is_jupyter:
        from neobert.training.notebook import NotebookDisplay

        return NotebookDisplay(console)
    return LiveDisplay(console) if console.is_terminal else Display(console)


@contextmanager
def notes_of_parts(display: Display) -> Iterator[None]:
    """Shows what any part logs under ``neobert`` as a note."""
    logger = logging.getLogger("neobert")
    handler = _NoteHandler(display)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


class _NoteHandler(logging.Handler):
    def __init__(self, display: Display) -> None:
        super().__init__(logging.INFO)
        self._display = display

    def emit(self, record: logging.LogRecord) -> None:
        self._display.note(record.getMessage())


def shown_numbers(metrics: Mapping[str, float]) -> str:
    """What of a log line a person follows."""
    shown = [
        ("loss", "train/loss", "{:.4f}"),
        ("lr", "train/learning_rate", "{:.2e}"),
        ("norm", "train/grad_norm", "{:.3f}"),
        ("accuracy", "train/accuracy", "{:.3f}"),
        ("skipped steps", "train/skipped_steps", "{:.0f}"),
        ("length", "train/max_seq_length", "{:,.0f}"),
        ("micro-batches", "train/micro_batches", "{:,.0f}"),
        ("rollbacks", "train/rollbacks", "{:.0f}"),
        ("tokens/s", "train/tokens_per_second", "{:,.0f}"),
    ]
    numbers = [f"{key[6:-5]} {value:.4f}" for key, value in metrics.items() if _is_of_objective(key)]
    numbers += [f"{name} {form.format(metrics[key])}" for name, key, form in shown if key in metrics]
    waited = metrics.get("train/data_wait_share", 0.0)
    if waited > NOTICEABLE_WAIT:
        numbers.append(f"waiting for data {waited:.0%}")
    return "  ".join(numbers)


def _is_of_objective(key: str) -> bool:
    """Whether it is the loss of one of several objectives, ``train/NAME/loss``."""
    return key.count("/") == 2 and key.startswith("train/") and key.endswith("/loss")
