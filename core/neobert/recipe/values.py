"""Strict conversion of one TOML value to a field's type. Nothing is coerced; an int may stand for a float."""

from __future__ import annotations

import math
import types
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import attrs
from attrs import frozen

from neobert.toml_text import toml_text

_WORDS: dict[Any, tuple[str, str]] = {
    bool: ("true or false", "booleans"),
    int: ("an int", "ints"),
    float: ("a float", "floats"),
    str: ("a string", "strings"),
    Path: ("a path, as a string", "paths"),
}


class MismatchError(Exception):
    """A value that its key does not take; the text says what was expected."""


@frozen
class Shape:
    """A type taken apart once: unions flattened, ``None`` set aside."""

    members: tuple[Any, ...]
    optional: bool


def shape_of(annotation: Any) -> Shape:
    """The members of a union other than None (one for any other type), and whether None is one of them."""
    if get_origin(annotation) is Annotated:
        return shape_of(get_args(annotation)[0])
    if get_origin(annotation) not in (Union, types.UnionType):
        return Shape((annotation,), optional=annotation is type(None))
    inner = [shape_of(item) for item in get_args(annotation) if item is not type(None)]
    optional = type(None) in get_args(annotation) or any(shape.optional for shape in inner)
    return Shape(tuple(member for shape in inner for member in shape.members), optional)


def has_tables(annotation: Any) -> bool:
    """Whether a value of this type has keys of its own, so that faults inside it are told key by key."""
    if attrs.has(annotation):
        return True
    return any(has_tables(item) for item in get_args(annotation)) and get_origin(annotation) is not Literal


def is_mapping(annotation: Any) -> bool:
    """``dict[str, X]``, or a mapping of it."""
    origin = get_origin(annotation) or annotation
    return isinstance(origin, type) and issubclass(origin, Mapping)


def takes_strings(annotation: Any) -> bool:
    """Whether a string is among its values."""
    return any(_is_string(member) for member in shape_of(annotation).members)


def takes_only_strings(annotation: Any) -> bool:
    """Whether all of its values are strings, so that an override needs no quotes."""
    return all(_is_string(member, only=True) for member in shape_of(annotation).members)


def convert(value: Any, annotation: Any, *, nonfinite: bool = False) -> Any:
    """The value as the type has it; raises `MismatchError`. ``nonfinite`` lets nan and inf be floats."""
    members = shape_of(annotation).members
    exact = sorted(members, key=lambda member: type(value) is not member)
    for member in exact:
        try:
            return _convert_member(value, member, nonfinite)
        except MismatchError as error:
            if len(members) == 1:
                raise
            last = error
    raise MismatchError(f"expected {in_words(annotation)}") from last


def in_words(annotation: Any) -> str:
    """A type as a person would say it, with its article: ``an int``, ``a list of floats``."""
    members = shape_of(annotation).members
    if len(members) != 1:
        return " or ".join(in_words(member) for member in members)
    return _one_in_words(members[0])


def _one_in_words(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation in _WORDS:
        return _WORDS[annotation][0]
    if origin is Literal:
        texts = [toml_text(option) for option in arguments if option is not None]
        return texts[0] if len(texts) == 1 else f"one of {', '.join(texts)}"
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return f"one of {', '.join(toml_text(member.value) for member in annotation)}"
    if origin is tuple and arguments[1:] != (Ellipsis,):
        return f"a list of {len(arguments)} items: {', '.join(in_words(item) for item in arguments)}"
    if _is_list(annotation):
        return f"a list of {_plural(arguments[0])}" if arguments else "a list"
    if is_mapping(annotation):
        return f"a table of {_plural(arguments[1])}" if arguments else "a table"
    return "a table" if attrs.has(annotation) else f"a value of type {getattr(annotation, '__name__', annotation)}"


def _plural(annotation: Any) -> str:
    return _WORDS[annotation][1] if annotation in _WORDS else f"items, each {in_words(annotation)}"


def _convert_member(value: Any, annotation: Any, nonfinite: bool) -> Any:
    if annotation is Any:
        return value
    if attrs.has(annotation):
        raise MismatchError("expected a table")
    if _is_list(annotation):
        return _convert_list(value, annotation, nonfinite)
    if is_mapping(annotation):
        return _convert_dict(value, annotation, nonfinite)
    if annotation is float:
        return _convert_float(value, nonfinite)
    if annotation in (bool, int, str):
        if type(value) is annotation:
            return value
    elif annotation is Path:
        if isinstance(value, str):
            return Path(value)
    else:
        for option, result in _options(annotation):
            if type(option) is type(value) and option == value:
                return result
    raise MismatchError(f"expected {in_words(annotation)}")


def _options(annotation: Any) -> list[tuple[Any, Any]]:
    """What a Literal or an Enum takes, and what each becomes."""
    if get_origin(annotation) is Literal:
        return [(option, option) for option in get_args(annotation)]
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return [(member.value, member) for member in annotation]
    msg = f"a recipe cannot give a value of type {annotation!r}"
    raise TypeError(msg)


def _convert_float(value: Any, nonfinite: bool) -> float:
    if type(value) not in (int, float):
        raise MismatchError("expected a float")
    try:
        number = float(value)
    except OverflowError:
        raise MismatchError("expected a float: this number is too large for one") from None
    if not nonfinite and not math.isfinite(number):
        raise MismatchError("expected a finite float")
    return number


def _convert_list(value: Any, annotation: Any, nonfinite: bool) -> Any:
    if not isinstance(value, list):
        raise MismatchError(f"expected {in_words(annotation)}")
    origin, arguments = get_origin(annotation) or annotation, get_args(annotation)
    if origin is tuple and arguments and arguments[1:] != (Ellipsis,):
        if len(arguments) != len(value):
            raise MismatchError(f"expected {in_words(annotation)}; it has {len(value)}")
        item_types = list(arguments)
    else:
        item_types = [arguments[0] if arguments else Any] * len(value)
    items = []
    for index, (item, item_type) in enumerate(zip(value, item_types, strict=True)):
        try:
            items.append(convert(item, item_type, nonfinite=nonfinite))
        except MismatchError as error:
            raise MismatchError(
                f"expected {in_words(annotation)}; item {index} is {toml_text(item)}: {error}"
            ) from None
    return tuple(items) if origin is tuple else items


def _convert_dict(value: Any, annotation: Any, nonfinite: bool) -> Any:
    if not isinstance(value, dict):
        raise MismatchError(f"expected {in_words(annotation)}")
    item_type = (*get_args(annotation), Any)[1] if get_args(annotation) else Any
    found = {}
    for key, item in value.items():
        try:
            found[key] = convert(item, item_type, nonfinite=nonfinite)
        except MismatchError as error:
            raise MismatchError(f"expected {in_words(annotation)}; {key} is {toml_text(item)}: {error}") from None
    return found


def _is_list(annotation: Any) -> bool:
    origin = get_origin(annotation) or annotation
    return origin in (list, tuple) or getattr(origin, "__name__", "") == "Sequence"


def _is_string(annotation: Any, *, only: bool = False) -> bool:
    if annotation in (str, Path):
        return True
    if get_origin(annotation) is Literal or (isinstance(annotation, type) and issubclass(annotation, Enum)):
        strings = [isinstance(option, str) for option, _ in _options(annotation) if option is not None]
        return all(strings) if only else any(strings)
    return False
