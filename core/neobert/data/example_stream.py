"""Streams of examples: rows of role columns that come one after another, in windows as `TokenStream` has them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from attrs import field, frozen

from neobert.data.example_blocks import RoleLayout
from neobert.data.example_build import checked_ids, tokenized_form, without_bare_prefixes
from neobert.data.example_checks import check_values
from neobert.data.example_keys import KeyTable, key_table
from neobert.data.example_report import count_examples
from neobert.data.example_store import in_memory
from neobert.data.examples import Examples
from neobert.data.joined_keys import join_keys
from neobert.data.mixed_streams import filtered
from neobert.data.role_columns import holds_ids
from neobert.data.stream import StreamSource, TokenStream
from neobert.data.text_keys import TextKeys
from neobert.data.texts import ROWS_A_BLOCK
from neobert.data.windows import Window
from neobert.encoding import encode_texts
from neobert.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from neobert.data.example_form import ExampleForm
    from neobert.data.sequences import Cut, Pieces
    from neobert.mixture import MixtureSource


@frozen(eq=False, kw_only=True)
class ExampleWindow(Window):
    """Rows of a stream as examples. ``ids`` and ``ends`` are those of the table; `row` gives an example's tokens."""

    examples: Examples
    table: KeyTable | None

    def row(self, number: int) -> np.ndarray[Any, np.dtype[Any]]:
        """All sequences of an example, end to end."""
        place = number - self.first
        return self.examples.ids(place, 0, int(self.lengths[place]))

    def kept(self, number: int) -> Any:
        """See `Window`."""
        return KeptExample(self, number - self.first)


@frozen(eq=False)
class KeptExample:
    """An example of the current plan, whose window is there, or a copy that needs none."""

    window: ExampleWindow | None
    place: int
    parts: Mapping[str, Any] | None = None
    own_keys: tuple[int, ...] = ()
    texts: Mapping[int, str] = field(factory=dict)
    """Key -> how its text begins."""

    def example(self) -> Mapping[str, Any]:
        """What the collator gets."""
        if self.window is not None:
            return self.window.examples.example(self.place)
        assert self.parts is not None
        return self.parts

    def keys(self) -> tuple[int, ...]:
        """Of its texts that are kept apart."""
        if self.window is None or self.window.table is None:
            return self.own_keys
        return tuple(self.window.table.of(np.array([self.place])).key.tolist())

    def beginning(self, key: int) -> str:
        """How the text of a key begins."""
        if self.window is None or self.window.table is None:
            return self.texts[key]
        return self.window.table.beginning(self.place, key)

    def copy(self) -> KeptExample:
        """The same without the window."""
        keys = self.keys()
        return KeptExample(None, 0, self.example(), keys, {key: self.beginning(key) for key in keys})


class ExampleStream(TokenStream):
    """A ``datasets.IterableDataset`` whose columns are named by role (see `prepare_roles`), in windows of rows."""

    def __init__(
        self,
        rows: Any,
        form: ExampleForm,
        window: int,
        *,
        label: str = "train",
        on_damaged_row: Literal["skip", "stop"] = "skip",
        of_source: MixtureSource | None = None,
    ) -> None:
        """``of_source``: of a mixture, whose filter is applied."""
        import datasets

        self._holds_ids = holds_ids(rows, form.rules.roles)
        self._form = tokenized_form(rows, form, label) if self._holds_ids else form
        self._layout = RoleLayout(self._form, rows)
        self._form.refuse_told_apart(self._layout.lists)
        self._schema = datasets.Features(rows.features).arrow_schema
        self._source = of_source
        super().__init__(rows, form.tokenizer, window, label=label, on_damaged_row=on_damaged_row)

    def windows(self, body: int, overflow: Any, seed: int) -> ExampleSource:
        """See `TokenStream`."""
        return ExampleSource(self, body, overflow, seed)

    def _values(self, batch: dict[str, list[Any]]) -> list[Any]:
        names = list(batch)
        return [dict(zip(names, values, strict=True)) for values in zip(*batch.values(), strict=True)]

    def _row(self, value: Any, fault: str | None) -> tuple[Any, str | None]:
        nothing = any(value.get(name) is None for name in self._form.rules.roles.required if name in value)
        return value, fault if nothing else None

    def tokenize(self, first: int, rows: list[tuple[Any, str | None]], more: bool) -> Window:
        """See `TokenStream`. Raises UserError that names a row whose numbers do not fit."""
        damaged, blocks, parts = self._settle(first, rows), [], []
        for start in range(0, max(len(rows), 1), ROWS_A_BLOCK):
            number, some = first + start, rows[start : start + ROWS_A_BLOCK]
            block = self._layout.block(self._columns(some, number), number, self.label)
            blocks.append(block)
            if self._holds_ids:
                parts.append(checked_ids(block, self._form, self._vocabulary, number, self.label))
            else:
                parts.append(without_bare_prefixes(*encode_texts(self._backend, block.texts), block.owners, self._form))
        ids, lengths = (np.concatenate(found) for found in zip(*parts, strict=True))
        examples = Examples(in_memory(blocks, ids, lengths, self._layout.lists), self._form.rules)
        check_values(examples, self.label, first)
        table = examples.table
        window = ExampleWindow(
            first=first,
            ids=table.ids.astype(np.int64),
            ends=table.ends,
            lengths=examples.lengths,
            more=more,
            damaged=damaged,
            examples=examples,
            table=key_table(examples, self._form.tokenizer),
        )
        return window if self._source is None else filtered(window, self._source)

    def _columns(self, rows: list[tuple[Any, str | None]], first: int) -> dict[str, Any]:
        """As Arrow arrays."""
        import pyarrow as pa

        names = [name for name in self._schema.names if not rows or name in rows[0][0]]
        try:
            return {name: pa.array([row[name] for row, _ in rows], self._schema.field(name).type) for name in names}
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            msg = f"rows {first} to {first + len(rows) - 1} of the stream {self.label} do not fit its columns: {error}"
            raise UserError(msg) from error


def _own_keys(kept: list[KeptExample]) -> TextKeys | None:
    """Those of copies; None where no text is kept apart."""
    found = [one.own_keys for one in kept]
    example = np.repeat(np.arange(len(found)), [len(keys) for keys in found])
    key = np.fromiter((key for keys in found for key in keys), dtype=np.int64, count=len(example))
    return TextKeys(example, key, lambda place, wanted: kept[place].beginning(wanted)) if len(key) else None


class ExampleSource(StreamSource):
    """A planner's windows out of a stream of examples."""

    def ids(self, pieces: Pieces) -> tuple[Any, ...]:
        """What the collator gets of these examples of the current plan."""
        return tuple(self._kept[row].example() for row in pieces.document.tolist())

    def keys(self, pieces: Pieces) -> TextKeys | None:
        """Of the texts that are kept apart."""
        kept: list[KeptExample] = [self._kept[row] for row in pieces.document.tolist()]
        windows = {id(one.window): one.window for one in kept}
        parts, places = [], []
        for number, window in windows.items():
            mine = np.array([place for place, one in enumerate(kept) if id(one.window) == number])
            places.append(mine)
            if window is None:
                parts.append(_own_keys([kept[place] for place in mine.tolist()]))
            else:
                rows = np.array([kept[place].place for place in mine.tolist()])
                parts.append(None if window.table is None else window.table.of(rows))
        return join_keys(parts, places)

    def _left_out(self, window: Window, cut: Cut) -> Mapping[str, int]:
        assert isinstance(window, ExampleWindow)
        counts = count_examples([window.examples])
        found = Counter(
            {
                "damaged_rows": window.damaged,
                "empty_rows": counts.incomplete - window.damaged,
                "dropped_examples": counts.dropped,
                "filtered_rows": window.too_short + window.too_long,
            }
        )
        found.update({f"cut_{role.name}_texts": role.cut for role in counts.roles})
        return +found
