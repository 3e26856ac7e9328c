"""Options and hook."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import field, frozen
from attrs.validators import and_, ge, gt, le, lt
from neobert import BuildContext, hookimpl

if TYPE_CHECKING:
    from neobert.interfaces import Schedule


@frozen(kw_only=True)
class PluginOptions:
    """Falls as half a cosine and starts anew, several times in a run, each time from a lower peak.

    Warm restarts (arXiv:1608.03983), after a linear warm-up.
    """

    warmup_steps: int = field(default=0, validator=ge(0), metadata={"help": "steps up to the full rate"})
    cycles: int = field(default=4, validator=ge(1), metadata={"help": "falls of equal length"})
    peak_decay: float = field(
        default=0.7, validator=and_(gt(0.0), le(1.0)), metadata={"help": "a peak's share of the one before it"}
    )
    final_lr_ratio: float = field(
        default=0.0, validator=and_(ge(0.0), lt(1.0)), metadata={"help": "what a fall ends at, of its peak"}
    )

    def check(self, recipe: Any) -> list[str]:
        """What cannot work together, found by `--check` before any work."""
        if self.warmup_steps + self.cycles <= recipe.trainer.max_steps:
            return []
        return [
            f"scheduler: {self.warmup_steps} steps of warm-up and {self.cycles} cycles do not fit into "
            f"trainer.max_steps = {recipe.trainer.max_steps}"
        ]

    def build(self, context: BuildContext) -> Schedule:
        """A pure function of the step."""
        from .restarts import WarmRestarts

        return WarmRestarts(self, context.max_steps)


@hookimpl
def neobert_schedulers() -> dict[str, type]:
    return {"plugin_name": PluginOptions}
