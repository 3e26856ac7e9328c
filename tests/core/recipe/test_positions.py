"""The scanner finds what tomli finds, on the line where it was written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import tomli
from hypothesis import given
from hypothesis import strategies as st

from neobert.recipe.positions import key_lines, split_key
from neobert.toml_text import toml_text

if TYPE_CHECKING:
    from random import Random

    from neobert.recipe.nodes import Key

KEYS = st.one_of(
    st.sampled_from(["a", "b-c", "0", "x_1", "é", "a.b", "#", "]", '"', "'", "=", ""]), st.text(max_size=4)
)
SCALARS = st.one_of(
    st.integers(-5, 5),
    st.booleans(),
    st.floats(allow_nan=False),
    st.datetimes(),
    st.dates(),
    st.sampled_from(["", "#", "[x]", "a = 1\nb = 2", '"""', "'''", "\\", 'tail"', "tail''", "\r\n", "{"]),
    st.text(max_size=6),
)
TREES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(KEYS, inner, max_size=3)
        | st.lists(st.dictionaries(KEYS, inner, max_size=2), min_size=1, max_size=3)
    ),
    max_leaves=12,
)
TABLES = st.dictionaries(KEYS, TREES, max_size=2)
DOCUMENTS = st.dictionaries(KEYS, TREES | st.lists(TABLES, min_size=1, max_size=3), max_size=4)


class Writer:
    """Writes a tree as TOML in a random style, and notes the line of each path as it writes it."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.text = ""
        self.lines: dict[Key, int] = {(): 1}

    def maybe(self, *texts: str) -> None:
        self.text += self.random.choice(("", *texts))

    def note(self, path: Key) -> None:
        self.lines.setdefault(path, self.text.count("\n") + 1)

    def key(self, path: Key, parts: tuple[str, ...]) -> None:
        for index, part in enumerate(parts):
            self.text += "." if index else ""
            self.maybe(" ")
            self.note((*path, *parts[: index + 1]))
            bare = part.replace("-", "").replace("_", "").isalnum() and part.isascii()
            literal = "'" not in part and part.isprintable() and self.random.random() < 0.5
            self.text += part if bare and self.random.random() < 0.7 else f"'{part}'" if literal else toml_text(part)
            self.maybe(" ")

    def table(self, path: Key, tree: dict[str, Any]) -> None:
        """Keys on lines of their own, then tables and arrays of tables under headers."""
        later = []
        for key, value in tree.items():
            tables = isinstance(value, list) and value and all(isinstance(item, dict) for item in value)
            if (isinstance(value, dict) or tables) and self.random.random() < 0.6:
                later.append((key, value))
                continue
            self.maybe("\n", "# note = 1\n", "   ")
            self.pair(path, key, value)
            self.text += self.random.choice(["\n", "  # [no] table\n", "\n\n"])
        for key, value in later:
            items = value if isinstance(value, list) else [value]
            for index, item in enumerate(items):
                self.header(path, key, index if isinstance(value, list) else None)
                self.table((*path, key) if value is item else (*path, key, index), item)

    def header(self, path: Key, key: str, index: int | None) -> None:
        names = (*(part for part in path if isinstance(part, str)), key)
        self.maybe("\n", "  ")
        open_, close = ("[", "]") if index is None else ("[[", "]]")
        self.note((*path, key))
        if index is not None:
            self.note((*path, key, index))
        self.text += open_ + ".".join(toml_text(name) for name in names) + close + "\n"

    def pair(self, path: Key, key: str, value: Any) -> None:
        parts = (key,)
        while isinstance(value, dict) and len(value) == 1 and self.random.random() < 0.5:
            (more, value), *_ = value.items()
            parts = (*parts, more)
        self.key(path, parts)
        self.text += "="
        self.maybe(" ")
        self.value((*path, *parts), value)

    def value(self, path: Key, value: Any) -> None:
        if isinstance(value, dict):
            self.text += "{"
            for index, (key, item) in enumerate(value.items()):
                self.text += "," if index else ""
                self.maybe(" ")
                self.pair(path, key, item)
            self.text += "}"
        elif isinstance(value, list):
            self.text += "["
            for index, item in enumerate(value):
                self.text += "," if index else ""
                self.maybe("\n", " # ]\n", " ")
                self.note((*path, index))
                self.value((*path, index), item)
            self.maybe("," if value else "", "\n")
            self.text += "]"
        else:
            self.scalar(value)

    def scalar(self, value: Any) -> None:
        if not isinstance(value, str) or self.random.random() < 0.4:
            self.text += toml_text(value)
            return
        escaped = toml_text(value)[1:-1].replace("\\n", "\n").replace("\\\n", "\\\\n")
        multi = f'"""\n{escaped}"""'
        try:
            right = tomli.loads(f"v = {multi}")["v"] == value
        except tomli.TOMLDecodeError:
            right = False
        self.text += multi if right else toml_text(value)


def paths_of(value: Any, path: Key = ()) -> set[Key]:
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return {path}.union(*(paths_of(item, (*path, key)) for key, item in children))


@given(DOCUMENTS, st.randoms(use_true_random=False))
def test_paths_are_tomlis_and_lines_are_where_they_were_written(tree: dict[str, Any], random: Random) -> None:
    writer = Writer(random)
    writer.table((), tree)
    parsed = tomli.loads(writer.text)
    assert parsed == tree
    assert set(key_lines(writer.text)) == paths_of(parsed)
    assert key_lines(writer.text) == writer.lines


def test_lines_of_every_construct() -> None:
    text = '''
a.b = 1
s = """
[not.a.table]
x = 1 \\""" """
list = [ # one
  1, { k = 2 },
  """]""",
]
[t."q.r"]
d = 1979-05-27 07:32:00
[[t.many]]
[t.many.sub]
e = 1
[[t.many]]
e = 2
[late]
wide = {
  x = 1, # TOML 1.1 has newlines here
  y = [1],
}
'''
    assert {".".join(map(str, path)): line for path, line in key_lines(text).items() if path} == {
        "a": 2,
        "a.b": 2,
        "s": 3,
        "list": 6,
        "list.0": 7,
        "list.1": 7,
        "list.1.k": 7,
        "list.2": 8,
        "t": 10,
        "t.q.r": 10,
        "t.q.r.d": 11,
        "t.many": 12,
        "t.many.0": 12,
        "t.many.0.sub": 13,
        "t.many.0.sub.e": 14,
        "t.many.1": 15,
        "t.many.1.e": 16,
        "late": 17,
        "late.wide": 18,
        "late.wide.x": 19,
        "late.wide.y": 20,
        "late.wide.y.0": 20,
    }


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a", ("a",)),
        ("a.b-c.d_1", ("a", "b-c", "d_1")),
        ("a.\"b.c\".'d'", ("a", "b.c", "d")),
        ("", None),
        ("a.", None),
        (".a", None),
        ("a..b", None),
        ("a b", None),
        ("a=b", None),
        ('"a', None),
        ('""', None),
    ],
)
def test_split_key(text: str, parts: tuple[str, ...] | None) -> None:
    assert split_key(text) == parts
