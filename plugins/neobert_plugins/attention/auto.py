"""The backend that only chooses, and says what."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, ClassVar

from attrs import frozen

from neobert import BuildContext, Capabilities, Part
from neobert.capabilities import Choice, Target
from neobert.registry.requirements import unmet
from neobert_plugins.attention.options import FlashAttention, SdpaAttention, VarlenAttention

if TYPE_CHECKING:
    from neobert.interfaces import AttentionBackend

logger = logging.getLogger("neobert.attention")

ORDER: dict[str, type] = {"flash_attn_varlen": FlashAttention, "varlen": VarlenAttention, "sdpa": SdpaAttention}
"""The first that is installed and fits device and dtype is taken. The last fits everywhere."""


@frozen(kw_only=True)
class AutoAttention:
    """Chooses flash_attn_varlen, varlen or sdpa: the first that is installed and fits device and precision; says so."""

    capabilities: ClassVar[Capabilities] = Capabilities(window=True, compilable=True)
    """What every backend that it may choose has; what is chosen is wrapped for torch.compile as its own options say."""

    def choose(self, target: Target) -> Choice:
        """The backend for this device and dtype, and why those before it were passed over."""
        passed = []
        for name, options_class in ORDER.items():
            reasons = _reasons(options_class, target)
            if not reasons or options_class is SdpaAttention:
                break
            passed.append(f"{name} {reasons[0]}")
        why = "; ".join(passed) or f"the first choice on {target.device} in {target.dtype}"
        return Choice(name=name, options=options_class(), why=why)

    def build(self, context: BuildContext) -> AttentionBackend:
        choice = self.choose(Target.of(context.device, context.compute_dtype))
        if context.device.type != "meta":  # where sizes are counted, nothing runs
            logger.info('attn_backend "auto" is "%s" in this run: %s', choice.name, choice.why)
        backend: AttentionBackend = Part(kind="attn_backend", name=choice.name, options=choice.options).build(context)
        return backend


def _reasons(options_class: type, target: Target) -> list[str]:
    missing = [item.reason for item in unmet(getattr(options_class, "requires", ()))]
    capabilities: Capabilities = options_class.capabilities  # type: ignore[attr-defined]
    return [*missing, *capabilities.unfit(target)]
