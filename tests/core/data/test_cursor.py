"""A cursor survives JSON exactly, and nothing else passes for one."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neobert.data.cursor import Cursor

COUNT = st.integers(0, 2**60)
CURSORS = st.builds(Cursor, COUNT, COUNT, COUNT, st.lists(st.tuples(COUNT, COUNT, COUNT), max_size=5).map(tuple))


@given(CURSORS)
def test_round_trip(cursor):
    assert Cursor.from_json(json.loads(json.dumps(cursor.to_json()))) == cursor


GOOD = {"epoch": 0, "window": 1, "position": 2, "carry": [[1, 2, 3]]}


@pytest.mark.parametrize(
    "change",
    [
        {"epoch": -1},
        {"epoch": True},
        {"window": 1.0},
        {"position": "2"},
        {"carry": None},
        {"carry": [[1, 2]]},
        {"carry": [[1, 2, -3]]},
        {"carry": [[1, 2, 3.0]]},
        {"more": 1},
    ],
)
def test_anything_else_is_refused(change):
    with pytest.raises(ValueError, match="cursor"):
        Cursor.from_json(GOOD | change)


def test_a_missing_key_is_refused():
    with pytest.raises(ValueError, match="epoch"):
        Cursor.from_json({"window": 1, "position": 2, "carry": []})
