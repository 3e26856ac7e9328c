"""What became of the data, in numbers: nothing is dropped or cut without being counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from neobert.wording import counted

if TYPE_CHECKING:
    from neobert.data.example_report import ExampleCounts


@frozen(kw_only=True)
class SourceReport:
    """What there is of one source of a mixture."""

    name: str
    share: float
    """Of the tokens trained on."""
    documents: int
    """That its filter lets through."""
    tokens: int
    """Of their sequences."""
    sequences: int
    too_short: int
    """Documents that its filter leaves out."""
    too_long: int
    streaming: bool = False
    """Counted are its first window's."""

    def line(self) -> str:
        """The same for people."""
        out = ((self.too_short, "under min_length"), (self.too_long, "over max_length"))
        left_out = ", ".join(f"{count:,} {what}" for count, what in out if count)
        scope = "in its first window " if self.streaming else ""
        return (
            f"source {self.name}: {self.share:.2%} of the tokens trained on; {scope}"
            + sizes(self.documents, self.tokens, self.sequences)
            + (f"; left out: {left_out}" if left_out else "")
        )


@frozen(kw_only=True)
class DataReport:
    """Counts over one pass of the training data; a stream knows only its first window."""

    documents: int
    """With content."""
    tokens: int
    """Of all documents, before any cutting; special tokens not counted."""
    sequences: int
    empty: int
    """Documents without a token: they give no sequence."""
    one_token: int
    split: int
    """Documents longer than a sequence that were split into several,"""
    truncated: int
    """cut off,"""
    dropped: int
    """or left out, as datacollator.overflow says."""
    left_out: int
    """Tokens that truncating or dropping left out."""
    trained_tokens: int
    """Of all sequences, special tokens included: what an epoch trains on."""
    window: int
    """Sequences of the order that are packed together."""
    fill: float
    """Share of tokens with content in the first window's micro-batches; 1.0 where nothing is padded."""
    streaming: bool = False
    sources: tuple[SourceReport, ...] = ()
    """Of a mixture."""
    examples: ExampleCounts | None = None
    """Where rows are examples, which stand for documents here."""

    def lines(self) -> tuple[str, ...]:
        """The report for people, one fact a line; what did not happen is left out."""
        scope = " in the first window of the stream" if self.streaming else ""
        if self.streaming and self.sources:
            scope = ", of a stream those in its first window"
        if self.examples is not None:
            return (*self.examples.lines(scope), *(source.line() for source in self.sources), self._fill())
        notes = (
            (self.empty, "empty document", "left out"),
            (self.one_token, "document", "of one token"),
            (self.split, "document", "longer than max_seq_length, split"),
            (self.truncated, "document", "longer than max_seq_length, truncated"),
            (self.dropped, "document", "longer than max_seq_length, dropped"),
            (self.left_out, "token", "left out so"),
        )
        lines = [sizes(self.documents, self.tokens, self.sequences) + scope]
        lines += [f"{counted(count, noun)} {what}" for count, noun, what in notes if count]
        lines += [source.line() for source in self.sources]
        return (*lines, self._fill())

    def _fill(self) -> str:
        return f"{self.fill:.2%} of a micro-batch's tokens have content"


def sizes(documents: int, tokens: int, sequences: int) -> str:
    """How much there is, for people."""
    return f"{counted(documents, 'document')}, {counted(tokens, 'token')}, {counted(sequences, 'sequence')}"
