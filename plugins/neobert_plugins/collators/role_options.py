"""Options of the collators that take texts by role."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from attrs import frozen

from neobert import Roles

if TYPE_CHECKING:
    from neobert.context import BuildContext
    from neobert.interfaces import Collator


@frozen(kw_only=True)
class Pairs:
    """Queries and what answers them, with any number of texts that do not; optionally what a teacher says of them."""

    roles: ClassVar[Roles] = Roles(
        required=("query", "positive"), optional=("negatives", "teacher_scores", "teacher_vector")
    )
    batch_fields: ClassVar[tuple[str, ...]] = (
        "query",
        "positive",
        "negative",
        "negative_of",
        "teacher_scores",
        "teacher_vector",
        "text_key",
    )

    def build(self, context: BuildContext) -> Collator:
        """A function of the examples."""
        from neobert_plugins.collators.by_role import pairs

        return pairs


@frozen(kw_only=True)
class Sentences:
    """Single texts, each twice: what dropout makes of them are two views of one text (SimCSE, Gao et al. 2021)."""

    roles: ClassVar[Roles] = Roles(required=("sentence",), copies=2)
    batch_fields: ClassVar[tuple[str, ...]] = ("query", "positive", "sentence", "text_key")

    def build(self, context: BuildContext) -> Collator:
        """A function of the examples."""
        from neobert_plugins.collators.by_role import sentences

        return sentences


@frozen(kw_only=True)
class Labelled:
    """Texts with a label: those of one label belong together."""

    roles: ClassVar[Roles] = Roles(required=("text", "label"))
    batch_fields: ClassVar[tuple[str, ...]] = ("text", "label", "text_key")

    def build(self, context: BuildContext) -> Collator:
        """A function of the examples."""
        from neobert_plugins.collators.by_role import labelled

        return labelled


@frozen(kw_only=True)
class ScoredPairs:
    """Two texts with a number for how alike they are."""

    roles: ClassVar[Roles] = Roles(required=("sentence1", "sentence2", "score"))
    batch_fields: ClassVar[tuple[str, ...]] = ("first", "second", "score", "text_key")

    def build(self, context: BuildContext) -> Collator:
        """A function of the examples."""
        from neobert_plugins.collators.by_role import scored_pairs

        return scored_pairs


@frozen(kw_only=True)
class JoinedLabelled:
    """Two texts, joined to one sequence as the tokenizer joins pairs, with a label."""

    roles: ClassVar[Roles] = Roles(required=("sentence1", "sentence2", "label"), joined=("sentence1", "sentence2"))
    batch_fields: ClassVar[tuple[str, ...]] = ("text", "label", "text_key")

    def build(self, context: BuildContext) -> Collator:
        """A function of the examples."""
        from neobert_plugins.collators.by_role import labelled

        return labelled


@frozen(kw_only=True)
class Scored:
    """Texts with a number each."""

    roles: ClassVar[Roles] = Roles(required=("text", "score"))
    batch_fields: ClassVar[tuple[str, ...]] = ("text", "score", "text_key")

    def build(self, context: BuildContext) -> Collator:
        """A function of the examples."""
        from neobert_plugins.collators.by_role import scored

        return scored


@frozen(kw_only=True)
class JoinedScored:
    """Two texts, joined to one sequence as the tokenizer joins pairs, with a number."""

    roles: ClassVar[Roles] = Roles(required=("sentence1", "sentence2", "score"), joined=("sentence1", "sentence2"))
    batch_fields: ClassVar[tuple[str, ...]] = ("text", "score", "text_key")

    def build(self, context: BuildContext) -> Collator:
        """A function of the examples."""
        from neobert_plugins.collators.by_role import scored

        return scored
