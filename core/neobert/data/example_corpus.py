"""Examples as what is trained and evaluated on: stored or streamed, of one dataset or of a mixture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from neobert.data.arrange import refuse_over_budget
from neobert.data.corpus import StoredCorpus, StreamCorpus
from neobert.data.example_build import examples_of
from neobert.data.example_keys import KeyTable, key_table, refuse_crowded
from neobert.data.example_stream import ExampleStream
from neobert.data.examples import Examples
from neobert.data.joined_keys import JoinedKeys
from neobert.data.mixed import JoinedDocuments, MixedCorpus
from neobert.data.mixed_rows import by_source, parts_of
from neobert.data.mixed_streams import MixedStreamCorpus
from neobert.data.sequences import whole
from neobert.data.splits import is_stream
from neobert.errors import UserError

if TYPE_CHECKING:
    from neobert.data.corpus import Corpus
    from neobert.data.documents import Documents
    from neobert.data.example_form import ExampleForm
    from neobert.data.stream import TokenStream
    from neobert.mixture import Mixture
    from neobert.served import CollatorKeys, DatasetKeys

ANY_LENGTH = np.iinfo(np.int32).max
"""Of a stream's examples, as far as is known beforehand."""


def example_corpus(
    rows: Any, form: ExampleForm, keys: DatasetKeys, collator_keys: CollatorKeys, mixture: Mixture | None
) -> Corpus:
    """Rows to train on, with columns by role, ready to be planned over."""
    window = collator_keys.packing_window
    if is_stream(rows) and mixture is not None:
        return _mixed_streams(rows, form, keys, window, mixture)
    if is_stream(rows):
        stream = ExampleStream(rows, form, window, on_damaged_row=keys.on_damaged_row)
        return StreamCorpus(stream, ANY_LENGTH, "truncate")
    documents = example_documents(rows, form, num_proc=keys.num_proc, mixture=mixture)
    longest, table = whole(documents.lengths).body, table_of(documents, form)
    if mixture is None:
        assert not isinstance(table, JoinedKeys)
        return StoredCorpus(documents, longest, "truncate", window, table)
    assert isinstance(documents, JoinedDocuments)
    assert not isinstance(table, KeyTable)
    return MixedCorpus(documents, mixture, longest, "truncate", window, table)


def example_documents(
    rows: Any, form: ExampleForm, *, num_proc: int | None, label: str = "train", mixture: Mixture | None = None
) -> Documents:
    """`Examples`, or of a mixture those of each source, which is tokenized by itself."""
    if mixture is None:
        return examples_of(rows, form, num_proc=num_proc, label=label)
    forms = {source.name: form.of_source(source) for source in mixture.sources}
    parts: dict[str, Documents] = {
        name: examples_of(found, forms[name], num_proc=num_proc, label=f"{label} of source {name!r}")
        for name, found in by_source(rows, mixture).items()
        if label == "train" or len(found)
    }
    return JoinedDocuments(parts)


def table_of(documents: Documents, form: ExampleForm) -> KeyTable | JoinedKeys | None:
    """The keys of the texts that are kept apart; None where none are."""
    if isinstance(documents, Examples):
        return key_table(documents, form.tokenizer)
    assert isinstance(documents, JoinedDocuments)
    tables = [key_table(part, form.tokenizer) for part in documents.parts.values() if isinstance(part, Examples)]
    known = tuple(table for table in tables if table is not None)
    return JoinedKeys(known, documents.bounds) if known else None


def examples_in(documents: Any) -> list[Examples]:
    """All of them, source by source."""
    found: list[Any] = list(documents.parts.values()) if isinstance(documents, JoinedDocuments) else [documents]
    return found


def known_examples(corpus: Corpus) -> list[Examples]:
    """All there are, or of a stream those of its first window."""
    if isinstance(corpus, MixedStreamCorpus):
        found: list[Any] = list(corpus.parts.values())
    elif isinstance(corpus, StreamCorpus):
        found = [corpus.stream]
    else:
        return examples_in(corpus.documents)
    return [part if isinstance(part, Examples) else part.first.examples for part in found]


def refuse_misfits(corpus: Corpus, batch_size: int, max_seq_length: int, *, packed: bool) -> None:
    """Raises UserError where no micro-batch can hold an example, or where an epoch cannot keep a text apart."""
    budget = batch_size * max_seq_length
    for examples in known_examples(corpus):
        if packed:
            refuse_over_budget(examples.lengths, budget)
    if isinstance(corpus, StoredCorpus) and corpus.table is not None:
        lengths = corpus.cut.lengths
        micro_batches = int((lengths > 0).sum()) // batch_size
        if packed:
            micro_batches = max(1, int(lengths.sum(dtype=np.int64)) // budget)
        refuse_crowded(corpus.table, micro_batches, f"{budget:,} tokens" if packed else f"{batch_size:,} examples")


def _mixed_streams(rows: Any, form: ExampleForm, keys: DatasetKeys, window: int, mixture: Mixture) -> Corpus:
    parts = parts_of(rows)
    if parts is None or tuple(parts) != mixture.names:
        msg = (
            "the rows of a mixture with streams are what neobert.data.mixed_rows.mixed_stream made of the sources, in "
            f"their order ({', '.join(mixture.names)}); these are not"
        )
        raise UserError(msg)
    found: dict[str, TokenStream | Documents] = {}
    tables: dict[str, KeyTable] = {}
    for source in mixture.sources:
        own, label = parts[source.name], f"train of source {source.name!r}"
        own_form = form.of_source(source)
        if is_stream(own):
            damaged = source.on_damaged_row
            found[source.name] = ExampleStream(
                own, own_form, window, label=label, on_damaged_row=damaged, of_source=source
            )
            continue
        examples = examples_of(own, own_form, num_proc=keys.num_proc, label=label)
        found[source.name] = examples
        if (table := key_table(examples, form.tokenizer)) is not None:
            tables[source.name] = table
    return MixedStreamCorpus(found, mixture, ANY_LENGTH, "truncate", window, tables)
