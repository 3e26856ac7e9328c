"""Losses."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from attrs import field, frozen
from attrs.validators import and_, ge, lt

from neobert import BuildContext, hookimpl
from neobert_plugins.losses.comparing_options import InfoNCE, SimCSE, SupCon
from neobert_plugins.losses.distill_options import Distill
from neobert_plugins.losses.matryoshka_options import Matryoshka
from neobert_plugins.losses.predicting_options import Classification, Regression
from neobert_plugins.losses.scored_options import CoSENT, CosineMSE

if TYPE_CHECKING:
    from neobert.interfaces import Loss


_OF_MASKED_TOKENS = ("masked_positions", "labels")


@frozen(kw_only=True)
class MaskedLM:
    """Cross-entropy of the masked tokens; only their hidden states are projected onto the vocabulary."""

    needs_fields: ClassVar[tuple[str, ...]] = _OF_MASKED_TOKENS

    label_smoothing: float = field(
        default=0.0,
        validator=and_(ge(0.0), lt(1.0)),
        metadata={"help": "share of the target that goes to all tokens alike; an evaluation has none"},
    )
    z_loss: float = field(
        default=0.0,
        validator=ge(0.0),
        metadata={"help": "times the squared logsumexp of the logits (PaLM has 1e-4); an evaluation has none"},
    )

    def build(self, context: BuildContext) -> Loss:
        from neobert_plugins.losses.chunked import Terms
        from neobert_plugins.losses.masked_lm import MaskedLMLoss

        return MaskedLMLoss(context.encoder, Terms(self.label_smoothing, self.z_loss))


@frozen(kw_only=True)
class FullLogitsLM:
    """The same loss from logits of every token: an ablation, and the slow way."""

    needs_fields: ClassVar[tuple[str, ...]] = _OF_MASKED_TOKENS

    def build(self, context: BuildContext) -> Loss:
        from neobert_plugins.losses.full_logits_lm import FullLogitsLMLoss

        return FullLogitsLMLoss(context.encoder)


@hookimpl
def neobert_losses() -> dict[str, type]:
    return {
        "classification": Classification,
        "cosent": CoSENT,
        "cosine_mse": CosineMSE,
        "distill": Distill,
        "full_logits_lm": FullLogitsLM,
        "info_nce": InfoNCE,
        "masked_lm": MaskedLM,
        "matryoshka": Matryoshka,
        "regression": Regression,
        "simcse": SimCSE,
        "supcon": SupCon,
    }
