"""Fields in words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
from attrs import Factory, field, frozen
from attrs.validators import and_, ge, in_, lt, optional

from neobert.describe import bounds_text, describe_fields, field_types, type_text
from neobert.parts import Part, part


@frozen(kw_only=True)
class Base:
    inherited: Path = field(default=None)


@frozen(kw_only=True)
class Options(Base):
    ignored: ClassVar[NotThere] = None  # type: ignore[name-defined]  # noqa: F821
    needed: int
    share: float | None = field(default=None, validator=optional(and_(ge(0.0), lt(1.0))), metadata={"help": "a share"})
    pick: Literal["one", "two", None] = "one"
    size: int = field(default=2, validator=in_([2, 4]))
    _private: bool = True
    pair: tuple[float, float] = (0.9, 0.98)
    names: tuple[str, ...] = field(factory=tuple)
    table: dict[str, int] = field(factory=lambda: {"a": 1})
    derived: int = field(default=Factory(lambda self: self.size, takes_self=True))
    computed: int = field(init=False, default=3)
    inner: Part = part("attn_backend", default="sdpa", help="inside")
    several: tuple[Part, ...] = part("loss", default=())


def test_fields_are_described_as_a_recipe_sees_them():
    described = {it.name: (it.type, it.default, it.help, it.part) for it in describe_fields(Options)}
    assert described == {
        "inherited": ("Path", "unset", "", None),
        "needed": ("int", "required", "", None),
        "share": ("float | unset (>= 0.0, < 1.0)", "unset", "a share", None),
        "pick": ('"one" | "two" | unset', '"one"', "", None),
        "size": ("int (one of 2, 4)", "2", "", None),
        "private": ("bool", "true", "", None),
        "pair": ("[float, float]", "[0.9, 0.98]", "", None),
        "names": ("list of string", "[]", "", None),
        "table": ("table of int", "{a = 1}", "", None),
        "derived": ("int", "derived from other keys", "", None),
        "inner": ("part of kind attn_backend", '"sdpa"', "inside", "attn_backend"),
        "several": ("list of part of kind loss", "[]", "", "loss"),
    }


@frozen(kw_only=True)
class Inner:
    least: int | None = field(default=None, validator=optional(ge(1)), metadata={"help": "at least"})


@frozen(kw_only=True)
class Outer:
    select: dict[str, Inner] = field(factory=dict, metadata={"help": "name -> what"})
    one: Inner | None = field(default=None, metadata={"help": "a table"})


def test_the_keys_of_a_table_and_of_tables_in_one_are_described_too():
    assert [(it.name, it.type, it.default, it.help) for it in describe_fields(Outer)] == [
        ("select", "table of tables", "{}", "name -> what"),
        ("select.NAME.least", "int | unset (>= 1)", "unset", "at least"),
        ("one", "table | unset", "unset", "a table"),
        ("one.least", "int | unset (>= 1)", "unset", "at least"),
    ]


@frozen(kw_only=True)
class Nested:
    inner: Inner = field(factory=Inner, metadata={"help": "always there"})
    optional: Inner | None = field(default=None)


def test_the_keys_of_a_table_in_a_table_are_described_too():
    assert [(it.name, it.type, it.default, it.help) for it in describe_fields(Nested)] == [
        ("inner", "table", "{}", "always there"),
        ("inner.least", "int | unset (>= 1)", "unset", "at least"),
        ("optional", "table | unset", "unset", ""),
        ("optional.least", "int | unset (>= 1)", "unset", "at least"),
    ]


def test_types_of_fields_alone_are_resolved():
    assert field_types(Options)["inherited"] is Path
    assert "ignored" not in field_types(Options)


def test_a_type_that_is_not_there_is_a_name_error():
    @frozen
    class Bad:
        value: Missing  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(NameError, match="Missing"):
        field_types(Bad)


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (None | int, "int | unset"),
        (list[list[int]], "list of list of int"),
        (Mapping[str, float], "table of float"),
        (Any, "Any"),
        (str | int, "string | int"),
    ],
)
def test_types(annotation, expected):
    assert type_text(annotation) == expected


def test_a_validator_of_another_make_has_no_bounds():
    assert bounds_text(lambda instance, attribute, value: None) == ""
    assert bounds_text(None) == ""
