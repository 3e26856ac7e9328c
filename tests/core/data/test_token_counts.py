"""How often each id stands in the data, counted over the flat store."""

from __future__ import annotations

import attrs
import numpy as np
import pytest

from neobert.data import documents as module
from neobert.data.documents import count_tokens

LENGTHS = [0, 3, 40, 0, 1, 17, 22, 5, 0]


@attrs.frozen(eq=False)
class OneByOne:
    """The same documents, not as a flat store."""

    store: object

    def ids(self, *piece):
        return self.store.ids(*piece)


@pytest.mark.parametrize("stretch", [2, 4, 10_000])
def test_the_flat_count_is_that_of_one_document_after_another(monkeypatch, make_data, stretch):
    monkeypatch.setattr(module, "_DOCUMENTS_A_STRETCH", stretch)
    store = make_data(LENGTHS).corpus.documents
    for wanted in (store.lengths, np.minimum(store.lengths, 4), np.where(store.lengths == 17, 0, store.lengths)):
        counted = count_tokens(store, wanted, 128)
        assert counted.tolist() == count_tokens(OneByOne(store), wanted, 128).tolist()
        assert counted.sum() == wanted.sum()
