"""What a tracker promises."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from neobert.testing.context import as_options, build, late_context, temporary_context
from neobert.testing.promises import require

if TYPE_CHECKING:
    from neobert.interfaces import Tracker


def check_tracker(options: Any) -> None:
    """Logs a short run, a loss that is not a number among it, and closes; then goes on with a second tracker.

    Raises `AssertionError` for a broken promise.
    """
    options = as_options(options)
    with temporary_context(late_context) as context:
        for steps in ((0, 1, 10), (11,)):
            tracker: Tracker = build("tracker", options, context)
            for step in steps:
                metrics = {"train/loss": 2.5, "train/tokens_seen": 100, "eval/loss": float("nan")}
                try:
                    tracker.log(MappingProxyType(metrics), step)
                except Exception as error:
                    promise = "a tracker takes any numbers, and leaves the mapping as it is"
                    require(False, promise, given=f"step {step}, {metrics}", found=repr(error))
            tracker.close()
