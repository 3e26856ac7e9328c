"""Options of the dataset of pairs that every machine has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from attrs import field, frozen
from attrs.validators import and_, ge, lt, min_len

if TYPE_CHECKING:
    from neobert.context import BuildContext


@frozen(kw_only=True)
class StandardLibraryPairs:
    """Docstrings and their code from the running Python's standard library, held out by module as dataset stdlib does.

    The modules held out, and evaluated on, are those that dataset `stdlib` does not train on with ``material``,
    ``eval_share`` and ``reserved_share`` as they are ``eval_material``, ``eval_share`` and ``reserved_share`` here: an
    encoder that was trained on that has seen none of them.
    """

    forms: tuple[Literal["docstring_code", "summary_rest", "name_body", "crops", "context"], ...] = field(
        default=("docstring_code",),
        validator=min_len(1),
        metadata={
            "help": "what to train on: a docstring and its function's or class's source without it; a docstring's "
            "first line and its rest; the words of a function's name and its body; two crops of one text; a paragraph "
            "and those around it"
        },
    )
    roots: tuple[str, ...] = field(
        default=(), metadata={"help": "further installed packages to train on, by import name; none is imported"}
    )
    library: bool = field(
        default=True,
        metadata={
            "help": "train on the library and evaluate on what is held out of it; false: train on roots alone and "
            "evaluate on nothing, in a mixture beside a source that has the library"
        },
    )
    eval_share: float = field(
        default=0.015,
        validator=and_(ge(0.0), lt(1.0)),
        metadata={"help": "share of the library's text to hold out, in whole modules: those that dataset stdlib does"},
    )
    reserved_share: float = field(
        default=0.12,
        validator=and_(ge(0.0), lt(1.0)),
        metadata={
            "help": "the same, in further modules: those that dataset stdlib reserves; 0 for both holds out nothing"
        },
    )
    eval_material: tuple[Literal["docstrings", "comments", "topics", "sources"], ...] = field(
        default=("topics", "sources"),
        validator=min_len(1),
        metadata={"help": "the text that the share is of: dataset stdlib's `material` in the encoder's pretraining"},
    )

    def check(self, recipe: Any) -> list[str]:
        """Nothing to train on."""
        if self.library or self.roots:
            return []
        return ["library = false, and no roots: that leaves nothing to train on; name packages in roots"]

    def build(self, context: BuildContext) -> dict[str, Any]:
        """``train`` of all forms, ``eval`` of docstrings and code of held-out modules: rows ``query`` and ``positive``;
        the same on every run."""
        from neobert_plugins.datasets.stdlib_pairs import read

        return read(self)
