"""The texts and numbers of rows as arrays: in memory, or mapped from a folder of the cache that is written once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from neobert.data.example_values import Values
from neobert.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from neobert.data.example_blocks import Block

ABOUT = "store.json"
_TYPES = {"ends": "int64", "owners": "uint8", "row_ends": "int64"}


@frozen(eq=False)
class ExampleTable:
    """Rows, each with its texts one after another, uncut and without special tokens."""

    ids: NDArray[np.integer[Any]] = field(repr=False)
    """The tokens of all texts, end to end."""
    ends: NDArray[np.int64] = field(repr=False)
    """(texts,) one past the last token of each."""
    owners: NDArray[np.uint8] = field(repr=False)
    """(texts,) the role of each, as the number of its slot in `ExampleRules.slots`."""
    row_ends: NDArray[np.int64] = field(repr=False)
    """(rows,) one past the last text of each."""
    values: Mapping[str, Values] = field(repr=False)
    """Role -> its numbers."""
    lists: tuple[str, ...] = ()
    """The roles of any number of texts that there are columns for."""
    fingerprint: str = ""
    """The identity of the content."""
    folder: Path | None = None
    """Where it is mapped from; None in memory."""

    def __len__(self) -> int:
        """Rows."""
        return len(self.row_ends)

    def __reduce__(self) -> tuple[Any, ...]:
        if self.folder is not None:
            return open_table, (self.folder,)
        parts = (self.ids, self.ends, self.owners, self.row_ends, self.values, self.lists, self.fingerprint)
        return ExampleTable, parts

    def texts_of(self, first: int, last: int) -> tuple[int, int]:
        """The texts of the rows from ``first`` to before ``last``: number of the first, one past the last."""
        return _before(self.row_ends, first), _before(self.row_ends, last)

    def tokens_of(self, first: int, last: int) -> tuple[int, int]:
        """The tokens of the texts from ``first`` to before ``last``, in the same way."""
        return _before(self.ends, first), _before(self.ends, last)

    def text_lengths(self, first: int, last: int) -> NDArray[np.int64]:
        """Tokens of these texts, uncut."""
        return np.diff(self.ends[first:last], prepend=_before(self.ends, first))

    def value(self, role: str, row: int) -> Any:
        """A row's number, or its list of numbers."""
        values = self.values[role]
        if values.ends is not None:
            first, last = _before(values.ends, row), _before(values.ends, row + 1)
            return np.array(values.numbers[first:last], dtype=np.float32)
        return values.numbers[row].item()


class TableWriter:
    """Writes a table into a folder, block by block."""

    def __init__(self, folder: Path, dtype: np.dtype[Any], lists: Sequence[str]) -> None:
        self._folder, self._dtype, self._lists = folder, dtype, list(lists)
        self._stack = ExitStack()
        self._files: dict[str, Any] = {}
        self._sizes: dict[str, int] = {}
        self._last: dict[str, int] = {}
        self._values: dict[str, dict[str, Any]] = {}
        for name in ("ids", *_TYPES):
            self._write(name, np.empty(0, dtype=_TYPES.get(name, dtype)))

    def __enter__(self) -> TableWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def rows(self, block: Block) -> None:
        """What is known of rows before their texts are tokenized."""
        self._write("owners", block.owners)
        self._write_ends("row_ends", np.cumsum(block.counts, dtype=np.int64))
        for role, values in block.values.items():
            self._values.setdefault(role, {})["numbers"] = values.numbers.dtype.name
            self._write(f"{role}.numbers", values.numbers)
            if values.ends is not None:
                self._values[role]["ends"] = "int64"
                self._write_ends(f"{role}.ends", values.ends)

    def texts(self, ids: NDArray[np.integer[Any]], lengths: NDArray[np.int64]) -> None:
        """The tokens of the texts that come next."""
        self._write("ids", ids.astype(self._dtype, copy=False))
        self._write_ends("ends", np.cumsum(lengths, dtype=np.int64))

    def finish(self, fingerprint: str) -> None:
        """Closes all files, and writes the last, which says what the others hold."""
        self._stack.close()
        about = {
            "dtype": self._dtype.name,
            "values": self._values,
            "lists": self._lists,
            "sizes": self._sizes,
            "fingerprint": fingerprint,
        }
        (self._folder / ABOUT).write_text(json.dumps(about, indent=1), encoding="utf-8")

    def _write_ends(self, name: str, ends: NDArray[np.int64]) -> None:
        if len(ends):
            before = self._last.get(name, 0)
            self._last[name] = before + int(ends[-1])
            self._write(name, before + ends)

    def _write(self, name: str, array: NDArray[Any]) -> None:
        if name not in self._files:
            self._files[name] = self._stack.enter_context((self._folder / f"{name}.bin").open("wb"))
        self._files[name].write(np.ascontiguousarray(array).tobytes())
        self._sizes[name] = self._sizes.get(name, 0) + len(array)


def open_table(folder: Path) -> ExampleTable:
    """A table that `TableWriter` wrote, mapped. Raises UserError where it is damaged."""
    about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    types = {"ids": about["dtype"], **_TYPES}
    types |= {f"{role}.{part}": dtype for role, parts in about["values"].items() for part, dtype in parts.items()}
    found = {name: _mapped(folder / f"{name}.bin", np.dtype(dtype)) for name, dtype in types.items()}
    sizes = {name: len(array) for name, array in found.items()}
    texts, tokens = (_before(found[name], len(found[name])) for name in ("row_ends", "ends"))
    if sizes != about["sizes"] or (texts, tokens) != (sizes["ends"], sizes["ids"]):
        msg = f"the cache of examples is damaged: the files of {folder} do not hold what its {ABOUT} says"
        raise UserError(f"{msg}\nremove that folder; the next run makes it again")
    values = {role: Values(found[f"{role}.numbers"], found.get(f"{role}.ends")) for role in about["values"]}
    return ExampleTable(
        found["ids"],
        found["ends"],
        found["owners"],
        found["row_ends"],
        values,
        tuple(about["lists"]),
        about["fingerprint"],
        folder,
    )


def in_memory(
    blocks: Sequence[Block], ids: NDArray[np.integer[Any]], lengths: NDArray[np.int64], lists: tuple[str, ...]
) -> ExampleTable:
    """A table of blocks, at least one, whose texts have these tokens. It has no fingerprint."""
    values = {}
    for role in blocks[0].values:
        parts = [block.values[role] for block in blocks]
        numbers = [part.lengths() for part in parts if part.ends is not None]
        ends = np.cumsum(np.concatenate(numbers), dtype=np.int64) if numbers else None
        values[role] = Values(np.concatenate([part.numbers for part in parts]), ends)
    owners, counts = (np.concatenate([getattr(block, name) for block in blocks]) for name in ("owners", "counts"))
    ends, row_ends = (np.cumsum(found, dtype=np.int64) for found in (lengths, counts))
    return ExampleTable(ids, ends, owners, row_ends, values, lists)


def _before(ends: NDArray[np.int64], place: int) -> int:
    return int(ends[place - 1]) if place else 0


def _mapped(path: Path, dtype: np.dtype[Any]) -> NDArray[Any]:
    """An empty file cannot be mapped."""
    size = path.stat().st_size if path.is_file() else 0
    if not size or size % dtype.itemsize:
        return np.empty(0, dtype=dtype)
    return np.memmap(path, dtype=dtype, mode="r")
