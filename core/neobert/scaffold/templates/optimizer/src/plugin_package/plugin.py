"""Options and hook. Imported whenever plugins are listed, so torch is imported in `build` alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen
from attrs.validators import and_, deep_iterable, ge, lt
from neobert import BuildContext, hookimpl

if TYPE_CHECKING:
    import torch


@frozen(kw_only=True)
class PluginOptions:
    """Lion: steps by the sign of a momentum, with one tensor of state where Adam has two (arXiv:2302.06675)."""

    lr: float = field(default=2e-4, validator=ge(0.0), metadata={"help": "what each weight moves by a step"})
    betas: tuple[float, float] = field(
        default=(0.9, 0.99),
        validator=deep_iterable(and_(ge(0.0), lt(1.0))),
        metadata={"help": "decay rates of the step's mixture and of the momentum"},
    )
    weight_decay: float = field(
        default=0.3, validator=ge(0.0), metadata={"help": "share of a weight taken off per unit of learning rate"}
    )

    def build(self, context: BuildContext) -> torch.optim.Optimizer:
        """A group for each of the context's; decay only where it is meant."""
        from .lion import Lion

        groups = [
            {"params": list(group.parameters.items()), "weight_decay": self.weight_decay if group.decay else 0.0}
            for group in context.parameter_groups
        ]
        return Lion(groups, lr=self.lr, betas=self.betas)


@hookimpl
def neobert_optimizers() -> dict[str, type]:
    return {"plugin_name": PluginOptions}
