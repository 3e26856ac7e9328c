"""Documents as token ids, where any stretch of any document is read without reading the rest."""

from __future__ import annotations

import json
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from attrs import field, frozen

from neobert.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

_DOCUMENTS_A_STRETCH = 10_000


class Documents(Protocol):
    """Rows of token ids without special tokens, by number. Picklable: a worker opens the files again."""

    @property
    def fingerprint(self) -> str:
        """The identity of the content: the same ids in the same order have the same."""
        ...

    @property
    def lengths(self) -> NDArray[np.int32]:
        """(documents,) tokens of each; 0 for an empty one."""
        ...

    def __len__(self) -> int: ...

    def ids(self, document: int, start: int, stop: int) -> NDArray[np.integer[Any]]:
        """Tokens ``start:stop`` of a document, (stop - start,)."""
        ...


@frozen(eq=False)
class TokenStore:
    """A cache folder, memory-mapped: ``ids.bin``, ``ends.bin`` (int64), and ``store.json``, written last."""

    folder: Path
    fingerprint: str = field(init=False)
    _tokens: NDArray[np.integer[Any]] = field(init=False, repr=False)
    _ends: NDArray[np.int64] = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        about = json.loads((self.folder / "store.json").read_text(encoding="utf-8"))
        ends = _mapped(self.folder / "ends.bin", np.dtype(np.int64))
        tokens = _mapped(self.folder / "ids.bin", np.dtype(about["dtype"]))
        said, found = (about["documents"], about["tokens"], about["tokens"]), (len(ends), ends[-1:].sum(), len(tokens))
        if said != found:
            msg = f"the cache of tokens is damaged: the files of {self.folder} do not hold what its store.json says"
            raise UserError(f"{msg}\nremove that folder; the next run makes it again")
        object.__setattr__(self, "fingerprint", about["fingerprint"])
        object.__setattr__(self, "_tokens", tokens)
        object.__setattr__(self, "_ends", ends)

    @cached_property
    def lengths(self) -> NDArray[np.int32]:
        """See `Documents`. Made when it is asked for: workers do without."""
        return np.diff(self._ends, prepend=0).astype(np.int32)

    def __len__(self) -> int:
        return len(self._ends)

    def __reduce__(self) -> tuple[type[TokenStore], tuple[Path]]:
        return TokenStore, (self.folder,)

    def ids(self, document: int, start: int, stop: int) -> NDArray[np.integer[Any]]:
        """Tokens ``start:stop`` of a document, a view into the mapped file."""
        begin = int(self._ends[document - 1]) if document else 0
        return self._tokens[begin + start : begin + stop]

    def stretches(self, lengths: NDArray[np.int32]) -> Iterator[NDArray[np.integer[Any]]]:
        """The first so many tokens of each document, of many documents at a time, end to end."""
        for first in range(0, len(self), _DOCUMENTS_A_STRETCH):
            here = slice(first, first + _DOCUMENTS_A_STRETCH)
            stored, wanted = self.lengths[here], lengths[here]
            begin = int(self._ends[first]) - int(stored[0])
            ids = self._tokens[begin : int(self._ends[here][-1])]
            if (stored == wanted).all():
                yield ids
            else:
                place = np.arange(len(ids)) - np.repeat(self._ends[here] - stored - begin, stored)
                yield ids[place < np.repeat(wanted, stored)]


def count_tokens(documents: Documents, lengths: NDArray[np.int32], vocab_size: int) -> NDArray[np.int64]:
    """(vocab_size,) how often each id stands in the first so many tokens of each document."""
    counts = np.zeros(vocab_size, dtype=np.int64)
    if isinstance(documents, TokenStore):
        for ids in documents.stretches(lengths):
            counts += np.bincount(ids, minlength=vocab_size)
        return counts
    for document, length in enumerate(lengths.tolist()):
        if length:
            counts += np.bincount(documents.ids(document, 0, length), minlength=vocab_size)
    return counts


def write_store(folder: Path, *, dtype: np.dtype[Any], documents: int, tokens: int, fingerprint: str) -> None:
    """The last file of a store, which says what the others hold."""
    about = {"dtype": dtype.name, "documents": documents, "tokens": tokens, "fingerprint": fingerprint}
    (folder / "store.json").write_text(json.dumps(about, indent=1), encoding="utf-8")


def _mapped(path: Path, dtype: np.dtype[Any]) -> NDArray[Any]:
    """An empty file cannot be mapped."""
    if path.stat().st_size == 0:
        return np.empty(0, dtype=dtype)
    return np.memmap(path, dtype=dtype, mode="r")
