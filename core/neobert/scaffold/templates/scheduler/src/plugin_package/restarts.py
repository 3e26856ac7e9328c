"""Cosine falls with warm restarts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from .plugin import PluginOptions


@frozen
class WarmRestarts:
    """The factor on each group's learning rate, of a run of ``max_steps``."""

    options: PluginOptions
    max_steps: int

    def __call__(self, step: int) -> float:
        """``step``: updates already done, so the first is 0."""
        options = self.options
        if step < options.warmup_steps:
            return (step + 1) / options.warmup_steps
        length = max(self.max_steps - options.warmup_steps, 1) / options.cycles
        done = (step - options.warmup_steps) / length
        cycle = min(int(done), options.cycles - 1)
        fall = (1.0 + math.cos(math.pi * min(done - cycle, 1.0))) / 2.0
        return options.peak_decay**cycle * (options.final_lr_ratio + (1.0 - options.final_lr_ratio) * fall)
