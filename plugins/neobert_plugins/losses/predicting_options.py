"""Options of losses that say something of each sequence: a class, or a number. Imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from attrs import field, frozen
from attrs.validators import and_, ge, lt

from neobert import BuildContext, UserError
from neobert.wording import counted, listed

if TYPE_CHECKING:
    from neobert.interfaces import Loss
    from neobert_plugins.losses.predicting import Head

HeadPooling = Literal["mean", "cls", "late"]
STAND_IN_CLASSES = 2
"""Where there is no data, for estimates."""


@frozen(kw_only=True)
class Predicting:
    """What such losses have in common."""

    pooling: HeadPooling = field(
        default="mean",
        metadata={
            "help": "what the head is given of a sequence, special tokens too: the mean of its tokens, the first one "
            "(`cls`), or each token, whose outputs are averaged (`late`)"
        },
    )
    dropout: float = field(
        default=0.1,
        validator=and_(ge(0.0), lt(1.0)),
        metadata={"help": "in the head while training: of what it is given, and before its last layer"},
    )

    def head(self, context: BuildContext, outputs: int) -> Head:
        """For ``build``."""
        from neobert_plugins.losses.predicting import Head

        return Head(context.encoder, outputs, self.pooling, self.dropout)


@frozen(kw_only=True)
class Classification(Predicting):
    """Each sequence has one of some classes: fine-tuning, with the head of EuroBertForSequenceClassification."""

    needs_fields: ClassVar[tuple[str, ...]] = ("text", "label")

    label_smoothing: float = field(
        default=0.0,
        validator=and_(ge(0.0), lt(1.0)),
        metadata={"help": "share of the target that goes to all classes alike; an evaluation has none"},
    )
    labels: tuple[str, ...] | None = field(
        default=None,
        metadata={"help": "what the classes are called, from number 0 on, where the data has numbers without names"},
    )
    metrics: tuple[Literal["accuracy", "f1", "macro_f1", "matthews"], ...] = field(
        default=(), metadata={"help": "figures of an evaluation; unset: all of them (`f1` is of class 1 of two)"}
    )

    def check(self, recipe: Any) -> list[str]:
        """Names that cannot be those of classes."""
        if self.labels is None:
            return []
        if len(self.labels) < 2 or len(set(self.labels)) < len(self.labels):
            return ["labels: expected the names of two or more classes, no two alike"]
        if "f1" in self.metrics and len(self.labels) != 2:
            return [f"metrics: f1 is of two classes, and there are {len(self.labels)}: take macro_f1"]
        return []

    def build(self, context: BuildContext) -> Loss:
        """Raises UserError where the data's labels are no classes, or others than ``labels`` names."""
        from neobert_plugins.losses.predicting import ClassificationLoss

        names = self._names(context)
        return ClassificationLoss(
            self.head(context, len(names)), self.needs_fields, names, self.label_smoothing, self.metrics
        )

    def _names(self, context: BuildContext) -> tuple[str, ...]:
        found = context.labels
        if found is None:
            return self.labels or tuple(map(str, range(STAND_IN_CLASSES)))
        if found.problem is not None and not (self.labels is not None and "not known before" in found.problem):
            msg = f"loss classification needs labels that are classes numbered from 0: {found.problem}"
            raise UserError(msg)
        names = self.labels or found.names
        if found.named and self.labels is not None and self.labels != found.names:
            msg = (
                f"loss.labels = {list(self.labels)}: the data names its classes itself, in this order: "
                f"{list(found.names)}\nleave loss.labels out: it is for numbers without names"
            )
            raise UserError(msg)
        if len(names) < max(2, len(found.names)):
            msg = (
                f"loss classification: {counted(len(found.names), 'class')} in the data ({listed(found.names[:10])})"
                + (f", and loss.labels names {len(names)}" if self.labels else ": there is nothing to tell apart")
            )
            raise UserError(msg)
        if "f1" in self.metrics and len(names) != 2:
            msg = f"loss.metrics: f1 is of two classes, and the data has {len(names)}: take macro_f1"
            raise UserError(msg)
        return names


@frozen(kw_only=True)
class Regression(Predicting):
    """Each sequence has a number: the squared difference, with the head of EuroBertForSequenceClassification."""

    needs_fields: ClassVar[tuple[str, ...]] = ("text", "score")

    metrics: tuple[Literal["pearson", "spearman"], ...] = field(
        default=(), metadata={"help": "figures of an evaluation; unset: all of them"}
    )

    def build(self, context: BuildContext) -> Loss:
        from neobert_plugins.losses.predicting import RegressionLoss

        return RegressionLoss(self.head(context, 1), self.needs_fields, self.metrics)
