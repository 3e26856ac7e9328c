"""Options of the loss that learns from a teacher. Imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from attrs import field, fields, frozen
from attrs.validators import ge, optional

from neobert import BuildContext
from neobert.contrast import EmbeddingOptions
from neobert_plugins.losses.comparing_options import NORMALIZE, positive

if TYPE_CHECKING:
    from neobert.interfaces import Loss

_OF_SCORES = ("temperature", "teacher_temperature")


@frozen(kw_only=True)
class Distill(EmbeddingOptions):
    """Follows a teacher: its scores of each query's candidates, or its vectors of the queries."""

    match: Literal["kl", "margin_mse", "vector_cosine", "vector_mse"] = field(
        default="kl",
        metadata={
            "help": "`kl` of the teacher's softmax over a query's candidates to the model's; `margin_mse`: of the "
            "differences between positive and negatives; `vector_cosine`, `vector_mse`: of the query's vector"
        },
    )
    normalize: bool = field(default=True, metadata=NORMALIZE)
    temperature: float = field(
        default=0.05,
        validator=positive,
        metadata={"help": "kl, margin_mse: the model's similarities are divided by it"},
    )
    teacher_temperature: float = field(
        default=1.0, validator=positive, metadata={"help": "kl, margin_mse: the teacher's scores are divided by it"}
    )
    teacher_size: int | None = field(
        default=None,
        validator=optional(ge(1)),
        metadata={
            "help": "vector_cosine, vector_mse: size of the teacher's vectors; where embeddings have another, a linear "
            "layer, which no export has, leads there"
        },
    )

    @property
    def of_vectors(self) -> bool:
        """And not of scores."""
        return self.match.startswith("vector")

    @property
    def wrappable(self) -> bool:  # type: ignore[override]
        """Not where embeddings are compared with vectors of one size."""
        return not self.of_vectors

    @property
    def needs_fields(self) -> tuple[str, ...]:
        """The batch's fields that it learns from."""
        if self.of_vectors:
            return ("query", "teacher_vector")
        return ("query", "positive", "negative", "negative_of", "teacher_scores")

    def check(self, recipe: Any) -> list[str]:
        problems = EmbeddingOptions.check(self, recipe)
        if self.of_vectors and self.teacher_size is None:
            problems.append(f"teacher_size: missing: {self.match} needs the size of the teacher's vectors, an int >= 1")
        if not self.of_vectors and self.teacher_size is not None:
            problems.append(f"teacher_size: has no effect with match = {self.match!r}, which learns from scores")
        for key in _OF_SCORES if self.of_vectors else ():
            if getattr(self, key) != getattr(fields(Distill), key).default:
                problems.append(f"{key}: has no effect with match = {self.match!r}, which learns from vectors")
        return problems

    def build(self, context: BuildContext) -> Loss:
        from neobert_plugins.losses.distill import ScoresLoss, VectorsLoss

        embedder = self.embedder(context, normalize=self.normalize)
        if not self.of_vectors:
            return ScoresLoss(
                embedder,
                self.needs_fields,
                margins=self.match == "margin_mse",
                temperature=self.temperature,
                teacher_temperature=self.teacher_temperature,
            )
        size = embedder.embedding_size if self.teacher_size is None else self.teacher_size
        return VectorsLoss(embedder, self.needs_fields, cosine=self.match == "vector_cosine", teacher_size=size)
