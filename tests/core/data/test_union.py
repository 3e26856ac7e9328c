"""What a tokenizer sees of several objectives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset, Features, Value

from neobert import BuildContext, Roles
from neobert.data.union import seen_by_tokenizer
from neobert.errors import UserError

PAIRS = Roles(required=("query", "positive"), optional=("negatives",))


def context(rows: Any, roles: Roles | None = None) -> BuildContext:
    return BuildContext(
        seed=1,
        device=torch.device("cpu"),
        run_directory=Path("run"),
        max_seq_length=8,
        max_steps=1,
        roles=roles,
        dataset={"train": rows},
    )


def plain(texts: list[str], kind: str = "string") -> Dataset:
    return Dataset.from_dict({"text": texts}, features=Features({"text": Value(kind)}))


def pairs() -> Dataset:
    return Dataset.from_dict({"query": ["q1", "q2"], "positive": ["p1", "p2"], "negatives": [["n1", "n2"], []]})


def test_one_objective_is_seen_as_it_is() -> None:
    only = context(pairs(), PAIRS)
    assert seen_by_tokenizer([only]) is only


def test_all_texts_of_all_objectives() -> None:
    seen = seen_by_tokenizer(
        [context(plain(["a", "b"])), context(pairs(), PAIRS), context(plain(["c"], "large_string"))]
    )
    assert seen.roles is None
    assert seen.dataset["train"]["text"] == ["a", "b", "q1", "p1", "n1", "n2", "q2", "p2", "c"]
    assert list(seen.dataset) == ["train"]


def test_a_stream_among_them_makes_it_a_stream() -> None:
    parts = [context(plain(["a"]).to_iterable_dataset()), context(pairs().to_iterable_dataset(), PAIRS)]
    seen = seen_by_tokenizer([*parts, context(plain(["b"]))])
    rows = seen.dataset["train"]
    assert not hasattr(rows, "__len__")
    assert [row["text"] for row in rows] == ["a", "q1", "p1", "n1", "n2", "q2", "p2", "b"]


def test_token_ids_are_refused_once_they_are_asked_for() -> None:
    ids = Dataset.from_dict({"input_ids": [[1, 2], [3]]})
    seen = seen_by_tokenizer([context(plain(["a"])), context(ids)])
    with pytest.raises(UserError, match="name the tokenizer that made them"):
        seen.dataset["train"]
