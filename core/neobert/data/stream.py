"""Streams: rows that come one after another, in windows that can be read again from the stream's start.

A window is ``packing_window`` rows in the stream's own order, tokenized and shuffled as a whole. Every rank reads the
whole stream and takes its own micro-batches, so the order is the same for every world size. A resumed run reads the
stream again up to its window: exact, and as slow as the source is at skipping rows.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice, repeat
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from neobert.damage import DAMAGE_COLUMN, DamageLog
from neobert.data.order import permute
from neobert.data.pretokenized import agreed, carries, check_vocabulary
from neobert.data.sequences import Cut, Pieces, SpecialTokens
from neobert.data.texts import ROWS_A_BLOCK
from neobert.data.tokenization import plain_backend
from neobert.data.windows import Window, rows_left_out
from neobert.encoding import encode_texts
from neobert.errors import UserError
from neobert.seeding import derive_seed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from neobert.data.cursor import Cursor
    from neobert.data.text_keys import TextKeys

    _Int64s = NDArray[np.int64]
    _Row = tuple[Any, str | None]
    """A text or its ids, and what is wrong with a row that cannot be read."""


class TokenStream:
    """A ``datasets.IterableDataset`` of ``text`` or ``input_ids``, in windows of rows. Raises UserError when empty.

    Rows that `DAMAGE_COLUMN` marks are skipped and counted, or end the run, as ``on_damaged_row`` says.
    """

    def __init__(
        self,
        rows: Any,
        tokenizer: Any,
        window: int,
        *,
        label: str = "train",
        on_damaged_row: Literal["skip", "stop"] = "skip",
    ) -> None:
        from tokenizers import Tokenizer

        self.label = label
        self.window = window
        self._rows = rows
        self._damage = DamageLog(f"the stream {label}", on_damaged_row)
        self._serialised = plain_backend(tokenizer)
        self._backend = Tokenizer.from_str(self._serialised)
        self._vocabulary = max(tokenizer.get_vocab().values()) + 1
        self._special = SpecialTokens.of(tokenizer)
        self.first = StreamReader(self).read(0)
        if not len(self.first.lengths):
            msg = f"the stream {label} has no row"
            raise UserError(msg)

    @property
    def fingerprint(self) -> str:
        """Of the first window's tokens: all that is known of a stream before it is read."""
        digest = hashlib.blake2b(self._serialised.encode(), digest_size=16)
        digest.update(self.first.lengths.tobytes())
        digest.update(self.first.ids.tobytes())
        return digest.hexdigest()

    def rows(self, first: int) -> Iterator[_Row]:
        """(text or ids, what is wrong with it) of the rows from ``first`` on. Raises UserError that names the row."""
        number = first
        try:
            for batch in self._rows.skip(first).iter(batch_size=ROWS_A_BLOCK):
                damage = batch.pop(DAMAGE_COLUMN, None)
                values = self._values(batch)
                for value, fault in zip(values, damage or repeat(None), strict=False):
                    yield self._row(value, fault)
                number += len(values)
        except Exception:  # whatever it is, it is raised again, at the very row: a batch loses those before it
            yield from self._one_by_one(number)

    def _one_by_one(self, number: int) -> Iterator[_Row]:
        """As `rows`, and several times as slow."""
        try:
            for row in self._rows.skip(number):
                damage = row.pop(DAMAGE_COLUMN, None)
                (value,) = self._values({name: [value] for name, value in row.items()})
                yield self._row(value, damage)
                number += 1
        except Exception as error:
            said = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            msg = f"the stream {self.label} failed at row {number}: {said}"
            raise UserError(msg) from error

    def _values(self, batch: dict[str, list[Any]]) -> list[Any]:
        """What is made into a document, of each row of a batch."""
        (values,) = batch.values()
        return values

    def _row(self, value: Any, fault: str | None) -> _Row:
        """What is wrong is wrong where it left nothing."""
        return value, None if value is not None else fault

    def windows(self, body: int, overflow: Any, seed: int) -> StreamSource:
        """A planner's windows out of it."""
        return StreamSource(self, body, overflow, seed)

    def tokenize(self, first: int, rows: list[_Row], more: bool) -> Window:
        """These rows, of which the first has number ``first``, as token ids."""
        damaged = self._settle(first, rows)
        values = [value for value, _ in rows]
        if any(isinstance(value, list) for value in values):
            ids, ends, lengths = self._tokenized(first, values)
        else:
            ids, ends, lengths = self._encoded(values)
        return Window(first, ids, ends, lengths.astype(np.int32), more, damaged)

    def _settle(self, first: int, rows: list[_Row]) -> int:
        """How many of the rows are damaged; they are told, or end the run."""
        damaged = {first + place: damage for place, (_, damage) in enumerate(rows) if damage is not None}
        self._damage.settle(damaged, len(rows))
        return len(damaged)

    def _encoded(self, texts: list[Any]) -> tuple[_Int64s, _Int64s, _Int64s]:
        parts = [
            encode_texts(self._backend, texts[start : start + ROWS_A_BLOCK])
            for start in range(0, len(texts), ROWS_A_BLOCK)
        ]
        ids = np.concatenate([part for part, _ in parts] or [np.empty(0, dtype=np.int64)])
        lengths = np.concatenate([part for _, part in parts] or [np.empty(0, dtype=np.int64)])
        return ids, np.cumsum(lengths), lengths

    def _tokenized(self, first: int, rows: list[Any]) -> tuple[_Int64s, _Int64s, _Int64s]:
        rows = [row or [] for row in rows]
        lengths = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
        try:
            ids = np.fromiter(chain.from_iterable(rows), dtype=np.int64, count=int(lengths.sum()))
        except TypeError as error:
            row = next(first + place for place, row in enumerate(rows) if None in row)
            msg = f"row {row} of the stream {self.label} has an empty value among its ids"
            raise UserError(msg) from error
        bounds = np.concatenate(([0], np.cumsum(lengths)))
        check_vocabulary(ids, bounds, self._vocabulary, first, self.label)
        carrying = carries(ids, bounds, self._special)
        around = agreed(carrying, lengths, self._special, f"{self.label} from row {first} on")
        bare = np.maximum(lengths - around.count, 0)
        return ids, bounds[1:] - np.minimum(len(around.suffix), lengths), bare


class StreamReader:
    """Reads a stream's windows; one after another costs no more than their rows."""

    def __init__(self, stream: TokenStream) -> None:
        self._stream = stream
        self._rows: Iterator[_Row] = iter(())
        self._position = -1
        self._waiting: list[_Row] = []
        self._failure: UserError | None = None

    def read(self, number: int) -> Window:
        """Window ``number``, and whether more follow. Raises UserError where one of its rows makes the stream fail."""
        size = self._stream.window
        first = number * size
        if first != self._position:
            self._rows, self._position, self._waiting = self._stream.rows(first), first, []
            self._failure = None
        failure = self._fill(size + 1)
        if failure is not None and len(self._waiting) < size:
            self._position = -1
            raise failure
        taken, self._waiting = self._waiting[:size], self._waiting[size:]
        self._position += len(taken)
        return self._stream.tokenize(first, taken, bool(self._waiting) or failure is not None)

    def _fill(self, wanted: int) -> UserError | None:
        """Reads until so many rows wait. A failure is the window's that has its row: those before it are whole."""
        try:
            self._waiting.extend(islice(self._rows, max(0, wanted - len(self._waiting))))
        except UserError as error:
            self._failure = error
        return self._failure


class StreamSource:
    """A planner's windows out of a stream; the one after is read in the background."""

    def __init__(self, stream: TokenStream, body: int, overflow: Any, seed: int) -> None:
        self._window = stream.window
        self._reader = StreamReader(stream)
        self._body = body
        self._overflow = overflow
        self._seed = seed
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="neobert-stream")
        self._ahead: tuple[int, Future[Window]] | None = None
        self._kept: dict[int, Any] = {}
        """Rows that sequences of the current plan are from."""
        self._last: tuple[int, Window] | None = None
        self._counts: Counter[str] = Counter()

    def begin(self, cursor: Cursor) -> None:
        """Keeps only the rows of what is carried on; those of a resumed run are read again."""
        rows = {row for row, _, _ in cursor.carry}
        kept = {row: self._kept[row].copy() for row in rows if row in self._kept}
        for number in sorted({row // self._window for row in rows - set(kept)}):
            window = self._read(number)
            first, last = window.first, window.first + len(window.lengths)
            kept |= {row: window.kept(row).copy() for row in rows if first <= row < last}
        self._kept = kept
        self._counts = Counter()

    def over(self, epoch: int) -> bool:
        """It is read again from its start."""
        return False

    def has(self, epoch: int, window: int) -> bool:
        """Known from the window before, which is read again where it has not been."""
        return window == 0 or self._read(window - 1).more

    def window(self, epoch: int, window: int) -> Pieces:
        """The sequences of the stream's rows, shuffled among themselves."""
        found = self._read(window)
        if not len(found.lengths):
            msg = (
                f"the stream ended before row {found.first}, which it had when the run was there: it is another stream"
            )
            raise UserError(msg)
        self._read_ahead(window + 1 if found.more else 0)
        rows = range(found.first, found.first + len(found.lengths))
        self._kept |= {row: found.kept(row) for row in rows}
        cut = Cut(found.lengths, self._body, self._overflow)
        self._counts.update(self._left_out(found, cut))
        order = permute(np.arange(len(cut)), len(cut), derive_seed(self._seed, "stream", epoch, window))
        pieces = cut.pieces(order)
        return Pieces(pieces.document + found.first, pieces.start, pieces.stop)

    def marks(self) -> tuple[()]:
        """Nothing: a window is read again by its number."""
        return ()

    def counts(self) -> Counter[str]:
        """Rows of the current plan's windows that were left out or cut, by what became of them."""
        return self._counts

    def keys(self, pieces: Pieces) -> TextKeys | None:
        """Documents have none."""
        return None

    def groups(self, pieces: Pieces) -> None:
        """There is one source."""

    def ids(self, pieces: Pieces) -> tuple[Any, ...]:
        """The tokens of sequences of the current plan."""
        return tuple(self._kept[row][start:stop] for row, start, stop in pieces.to_tuples())

    def close(self) -> None:
        """Ends the background thread."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _left_out(self, window: Window, cut: Cut) -> Mapping[str, int]:
        return rows_left_out(window, cut)

    def _read(self, number: int) -> Window:
        if self._last is not None and self._last[0] == number:
            return self._last[1]
        ahead, self._ahead = self._ahead, None
        read = ahead[1].result() if ahead is not None else None
        if ahead is None or ahead[0] != number or read is None:
            read = self._pool.submit(self._reader.read, number).result()
        self._last = (number, read)
        return read

    def _read_ahead(self, number: int) -> None:
        if self._ahead is None:
            self._ahead = (number, self._pool.submit(self._reader.read, number))
