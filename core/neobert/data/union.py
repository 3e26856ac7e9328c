"""What a tokenizer sees of several objectives: the texts of all their training rows, one after another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import evolve, frozen

from neobert.data.role_columns import holds_ids
from neobert.data.role_texts import role_texts
from neobert.data.splits import is_stream
from neobert.errors import UserError

if TYPE_CHECKING:
    from neobert.context import BuildContext


def seen_by_tokenizer(contexts: Sequence[BuildContext]) -> BuildContext:
    """The context of one objective as it is; of several, one whose ``dataset`` has the ``text`` of all."""
    first, *others = contexts
    return evolve(first, dataset=_Union(tuple(contexts)), roles=None) if others else first


@frozen(eq=False)
class _Union(Mapping[str, Any]):
    """``{"train": rows}``, put together when asked for: a tokenizer that is there already never asks."""

    contexts: tuple[BuildContext, ...]

    def __getitem__(self, key: str) -> Any:
        if key != "train":
            raise KeyError(key)
        return joined([_texts_of(context) for context in self.contexts])

    def __iter__(self) -> Iterator[str]:
        return iter(("train",))

    def __len__(self) -> int:
        return 1


def joined(parts: Sequence[Any]) -> Any:
    """Rows of a ``text`` column, one after another; a stream where any of them is one."""
    from datasets import concatenate_datasets

    if any(map(is_stream, parts)):
        parts = [part if is_stream(part) else part.to_iterable_dataset() for part in parts]
    return concatenate_datasets(list(parts))


def _texts_of(context: BuildContext) -> Any:
    """The training rows of an objective as rows of ``text``. Raises UserError for rows of token ids."""
    from datasets import Dataset, Features, IterableDataset, Value

    rows, roles = context.dataset["train"], context.roles
    ids = "text" not in (rows.column_names or ["text"]) if roles is None else holds_ids(rows, roles)
    if ids:
        msg = (
            "the rows of one of the objectives are token ids, and the tokenizer asks for text to be made from: name "
            "the tokenizer that made them"
        )
        raise UserError(msg)
    features = Features({"text": Value("string")})
    if roles is None:
        return rows if rows.features in (None, features) else rows.cast(features)
    if is_stream(rows):
        return IterableDataset.from_generator(
            lambda: ({"text": text} for text in role_texts(rows, roles)), features=features
        )
    return Dataset.from_dict({"text": list(role_texts(rows, roles))}, features=features)
