"""Options of the dataset that every machine has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from attrs import field, frozen
from attrs.validators import and_, ge, lt

if TYPE_CHECKING:
    from neobert.context import BuildContext


@frozen(kw_only=True)
class StandardLibrary:
    """English prose from the running Python's standard library, split into train and held-out by module."""

    material: tuple[Literal["docstrings", "comments", "topics", "sources"], ...] = field(
        default=("docstrings", "comments", "topics"),
        metadata={
            "help": "docstrings under their names and signatures, comments in prose, the "
            "language's help topics, "
            "whole module sources"
        },
    )
    document: Literal["module", "item"] = field(
        default="module",
        metadata={"help": "a document is a module's prose in the order of its source, or one docstring or comment"},
    )
    roots: tuple[str, ...] = field(default=(), metadata={"help": "further installed packages to read, by import name"})
    tests: bool = field(default=False, metadata={"help": "read test modules too"})
    eval_share: float = field(
        default=0.05,
        validator=and_(ge(0.0), lt(1.0)),
        metadata={"help": "share of the text to hold out, in whole modules; 0 holds out nothing"},
    )
    reserved_share: float = field(
        default=0.0,
        validator=and_(ge(0.0), lt(1.0)),
        metadata={
            "help": "share of the text, in further modules, that is neither trained nor evaluated on: what dataset "
            "stdlib_pairs evaluates on later"
        },
    )

    def build(self, context: BuildContext) -> dict[str, Any]:
        """``{"train": ..., "eval": ...}`` of rows ``text`` and ``module``; the same on every run."""
        from neobert_plugins.datasets.stdlib import read

        return read(self)
