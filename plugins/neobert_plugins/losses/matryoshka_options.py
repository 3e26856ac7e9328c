"""Options of the loss that trains embeddings of several sizes at once. Imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from attrs import field, frozen

from neobert import BuildContext, Part, UserError, part

if TYPE_CHECKING:
    from neobert.interfaces import Loss


def _sizes(instance: Any, attribute: Any, value: tuple[int, ...]) -> None:
    if not value or min(value) < 1 or len(set(value)) < len(value):
        msg = "expected sizes >= 1, each of them once"
        raise ValueError(msg)


def _above_zero(instance: Any, attribute: Any, value: tuple[float, ...]) -> None:
    if any(not 0.0 < weight < float("inf") for weight in value):
        msg = "expected floats > 0.0, < inf"
        raise ValueError(msg)


@frozen(kw_only=True)
class Matryoshka:
    """Another loss on the first so many values of each embedding, for several sizes at once.

    Kusupati et al. 2022 (arXiv:2205.13147).
    """

    wrappable: ClassVar[bool] = True

    loss: Part = part("loss", default="info_nce", help="the loss for each size")
    dims: tuple[int, ...] = field(
        validator=_sizes,
        metadata={"help": "sizes, such as [768, 256, 64]; the whole size is one of them"},
    )
    weights: tuple[float, ...] = field(
        default=(),
        validator=_above_zero,
        metadata={"help": "what each size's loss is multiplied by, in the order of dims; unset: 1 each"},
    )

    @property
    def needs_fields(self) -> tuple[str, ...]:
        """Those of the loss inside."""
        return tuple(getattr(self.loss.options, "needs_fields", ()))

    @property
    def divisible(self) -> bool:
        """As the loss inside."""
        return bool(getattr(self.loss.options, "divisible", True))

    def check(self, recipe: Any) -> list[str]:
        """What cannot work together, found before any work."""
        problems = []
        if not getattr(self.loss.options, "wrappable", False):
            problems.append(f"loss.loss.name: {self._unfit()}")
        if self.weights and len(self.weights) != len(self.dims):
            problems.append(f"weights: there are {len(self.weights)} for {len(self.dims)} dims")
        if hasattr(self.loss.options, "projection_size"):
            size = self.loss.options.projection_size or getattr(recipe.model.options, "hidden_size", None)
            problems += [] if size is None else self._size_problems(size)
        return problems

    def build(self, context: BuildContext) -> Loss:
        from neobert_plugins.losses.matryoshka import MatryoshkaLoss

        inner = self.loss.build(context)
        able = all(hasattr(inner, method) for method in ("embed", "sentence_head", "losses_from"))
        if not (able and getattr(self.loss.options, "wrappable", False)):
            raise UserError(f"loss.loss.name: {self._unfit()}")
        projection = inner.sentence_head().projection
        size = context.encoder.hidden_size if projection is None else projection[0].shape[0]
        if problems := self._size_problems(size):
            raise UserError("\n".join(f"loss.{problem}" for problem in problems))
        return MatryoshkaLoss(inner, dict(zip(self.dims, self.weights or (1.0,) * len(self.dims), strict=True)))

    def _unfit(self) -> str:
        return (
            f"{self.loss.name!r} cannot be wrapped: it makes no embeddings, or not such as may be cut short "
            "(docs/losses.md: losses_from)"
        )

    def _size_problems(self, size: int) -> list[str]:
        larger = [dim for dim in self.dims if dim > size]
        if larger:
            return [f"dims: embeddings have {size} values, fewer than {', '.join(map(str, larger))}"]
        if size not in self.dims:
            return [
                f"dims: embeddings have {size} values, and nothing would train those after the first {max(self.dims)}: "
                f"name {size} too, or set projection_size = {max(self.dims)} for the loss inside"
            ]
        return []
