"""What the `datasets` library prints: bars only where somebody watches, no lines about errors that are told anyway."""

from __future__ import annotations

import logging
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def errors_only_raised() -> Iterator[None]:
    """Inside, what fails is raised and not also logged; afterwards as it was."""
    from datasets.utils import logging as datasets_logging

    level = datasets_logging.get_verbosity()
    datasets_logging.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        datasets_logging.set_verbosity(level)


@contextmanager
def bars_on_terminals_only() -> Iterator[None]:
    """Off a terminal no bars inside; afterwards as it was."""
    from datasets.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    if sys.stderr.isatty() or are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()
