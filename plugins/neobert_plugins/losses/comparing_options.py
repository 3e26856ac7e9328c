"""Options of losses that compare examples with each other, and what a recipe must have for them. Imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from attrs import field, fields, frozen
from attrs.validators import and_, ge, gt, lt

from neobert import BuildContext
from neobert.contrast import EmbeddingOptions
from neobert.contrast.options import COLDEST, WARMEST

if TYPE_CHECKING:
    from neobert.contrast import Temperature
    from neobert.interfaces import Loss

positive = and_(gt(0.0), lt(float("inf")))
_TEMPERATURE = {"help": "similarities are divided by it; 0.05 is what others call a scale of 20"}
NORMALIZE = {"help": "embeddings have length 1, so that similarities are cosines; false: dot products"}


@frozen(kw_only=True)
class Comparing(EmbeddingOptions):
    """What losses with a softmax over similarities have in common."""

    divisible: ClassVar[bool] = False

    normalize: bool = field(default=True, metadata=NORMALIZE)
    temperature: float = field(default=0.05, validator=positive, metadata=_TEMPERATURE)
    learn_temperature: bool = field(
        default=False,
        metadata={"help": f"the temperature is learned from there on, between {COLDEST} and {WARMEST:g}"},
    )

    def check(self, recipe: Any) -> list[str]:
        problems = EmbeddingOptions.check(self, recipe)
        if self.learn_temperature and not COLDEST <= self.temperature <= WARMEST:
            problems.append(f"temperature: one that is learned begins between {COLDEST} and {WARMEST:g}")
        return problems

    def make_temperature(self) -> Temperature:
        """For ``build``."""
        from neobert.contrast import Temperature

        return Temperature(self.temperature, learned=self.learn_temperature)


@frozen(kw_only=True)
class InfoNCE(Comparing):
    """Each query picks its positive among all positives and hard negatives of the batch, by softmax."""

    needs_fields: ClassVar[tuple[str, ...]] = ("query", "positive", "text_key")

    hard_negative_weight: float = field(
        default=1.0,
        validator=positive,
        metadata={"help": "times the exponential of each of a query's own hard negatives in its denominator"},
    )
    symmetric: bool = field(
        default=False, metadata={"help": "half of the loss is each positive picking its query among all queries"}
    )
    margin: float = field(
        default=0.0,
        validator=and_(ge(0.0), lt(float("inf"))),
        metadata={"help": "taken off the similarity of query and positive: by so much they have to be nearer"},
    )

    def check(self, recipe: Any) -> list[str]:
        problems = Comparing.check(self, recipe)
        if is_alone(recipe) and not may_have_hard_negatives(recipe):
            problems.append(ALONE.format("a query needs the candidates of others, or hard negatives of its own"))
        return problems

    def build(self, context: BuildContext) -> Loss:
        from neobert_plugins.losses.info_nce import InfoNCELoss

        return InfoNCELoss(
            self.embedder(context, normalize=self.normalize),
            self.needs_fields,
            self.make_temperature(),
            hard_negative_weight=self.hard_negative_weight,
            symmetric=self.symmetric,
            margin=self.margin,
        )


@frozen(kw_only=True)
class SimCSE(Comparing):
    """Two copies of each sentence, told apart by dropout alone, pick each other among all sentences of the batch.

    Gao et al. 2021 (arXiv:2104.08821).
    """

    needs_fields: ClassVar[tuple[str, ...]] = ("query", "positive", "text_key")

    def check(self, recipe: Any) -> list[str]:
        problems = Comparing.check(self, recipe) + _dropout_problems(recipe.model)
        if is_alone(recipe):
            problems.append(ALONE.format("a sentence needs others to be told from"))
        return problems

    def build(self, context: BuildContext) -> Loss:
        from neobert_plugins.losses.info_nce import InfoNCELoss

        embedder = self.embedder(context, normalize=self.normalize)
        return InfoNCELoss(embedder, self.needs_fields, self.make_temperature())


@frozen(kw_only=True)
class SupCon(Comparing):
    """Texts of one label are drawn together, and apart from those of others (Khosla et al. 2020, arXiv:2004.11362)."""

    needs_fields: ClassVar[tuple[str, ...]] = ("text", "label")

    temperature: float = field(default=0.1, validator=positive, metadata=_TEMPERATURE)

    def check(self, recipe: Any) -> list[str]:
        problems = Comparing.check(self, recipe)
        if is_alone(recipe):
            problems.append(ALONE.format("a text needs another of its label"))
        return problems

    def build(self, context: BuildContext) -> Loss:
        from neobert_plugins.losses.supcon import SupConLoss

        embedder = self.embedder(context, normalize=self.normalize)
        return SupConLoss(embedder, self.needs_fields, self.make_temperature())


ALONE = (
    "trainer.per_device_train_batch_size: {}, and a micro-batch of one example has nothing else: raise it to 2 or more "
    "(gradient_accumulation_steps adds none)"
)


def is_alone(recipe: Any) -> bool:
    """Whether a micro-batch has one example, whatever the data."""
    return recipe.trainer.per_device_train_batch_size == 1 and not recipe.datacollator.pack_sequences


def may_have_hard_negatives(recipe: Any) -> bool:
    """As far as the recipe tells."""
    given = getattr(recipe.datacollator.options, "batch_fields", None)
    columns = getattr(recipe.dataset.served, "role_columns", None)
    mapped = not columns or any(role.startswith("negative") for role in columns)
    return mapped and (given is None or "negative" in given)


def _dropout_problems(model: Any) -> list[str]:
    """Where the model's options tell that it has none: neither what it asks of attention, nor any key of that name."""
    ask = getattr(model.options, "attention_needs", None)
    keys = [item.name for item in fields(type(model.options)) if "dropout" in item.name]
    if ask is None and not keys:
        return []
    if (ask is not None and ask().dropout_p > 0) or any(getattr(model.options, key) for key in keys):
        return []
    key = keys[0] if len(keys) == 1 else "name"
    return [
        f"model.{key}: without dropout both copies of a sentence have one embedding, and there is nothing to learn "
        "from: set it above 0, such as 0.1"
    ]
