"""Options of losses that learn from scored pairs. Imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from attrs import field, frozen

from neobert import BuildContext
from neobert.contrast import EmbeddingOptions
from neobert_plugins.losses.comparing_options import ALONE, is_alone, positive

if TYPE_CHECKING:
    from neobert.interfaces import Loss


@frozen(kw_only=True)
class CoSENT(EmbeddingOptions):
    """Ranks scored pairs: one with a higher score has the higher cosine (Su 2022). Scores of any range."""

    needs_fields: ClassVar[tuple[str, ...]] = ("first", "second", "score")
    divisible: ClassVar[bool] = False

    temperature: float = field(
        default=0.05,
        validator=positive,
        metadata={"help": "differences of cosines are divided by it; 0.05 is what others call a scale of 20"},
    )

    def check(self, recipe: Any) -> list[str]:
        problems = EmbeddingOptions.check(self, recipe)
        if is_alone(recipe):
            problems.append(ALONE.format("a pair needs others to be ranked with"))
        return problems

    def build(self, context: BuildContext) -> Loss:
        from neobert_plugins.losses.scored import CoSENTLoss

        return CoSENTLoss(self.embedder(context), self.needs_fields, self.temperature)


@frozen(kw_only=True)
class CosineMSE(EmbeddingOptions):
    """The squared difference of a pair's cosine and its score: regression."""

    needs_fields: ClassVar[tuple[str, ...]] = ("first", "second", "score")

    max_score: float = field(
        default=1.0,
        validator=positive,
        metadata={"help": "the score that means a cosine of 1: scores are divided by it (5 for scores from 0 to 5)"},
    )

    def build(self, context: BuildContext) -> Loss:
        from neobert_plugins.losses.scored import CosineMSELoss

        return CosineMSELoss(self.embedder(context), self.needs_fields, self.max_score)
