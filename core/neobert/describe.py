"""What an options class's fields are, in words: for `--explain`, the recipe reference and error messages."""

from __future__ import annotations

import sys
import types
import typing
from collections.abc import Mapping
from inspect import get_annotations
from typing import Any, Literal, Union, get_args, get_origin

import attrs
from attrs import evolve, frozen

from neobert.parts import Part, part_kind

REQUIRED = "required"
UNSET = "unset"
_PLAIN = {int: "int", float: "float", str: "string", bool: "bool", type(None): UNSET}


@frozen
class FieldDescription:
    """One key of a recipe's table."""

    name: str
    type: str
    """The TOML values it takes, such as ``int (>= 1)``, ``"split" | "truncate"`` or ``list of string``."""
    default: str
    """As TOML writes it; ``unset`` for none, ``required`` where the recipe has to say."""
    help: str
    part: str | None = None
    """For a field of parts: their kind."""


def describe_fields(cls: type) -> list[FieldDescription]:
    """The fields of an options class that a recipe can set, in their order.

    One that is a table, or a table of tables, is followed by the keys of those, such as ``rope_scaling.factor`` or
    ``select.NAME.min_length``.
    """
    types_by_name = field_types(cls)
    found: list[FieldDescription] = []
    for attribute in filter(lambda attribute: attribute.init, attrs.fields(cls)):
        annotation, name = types_by_name[attribute.name], attribute.alias or attribute.name
        help_text, kind = str(attribute.metadata.get("help", "")), part_kind(attribute)
        text = _type_of(attribute, annotation)
        found.append(FieldDescription(name, text, default_text(attribute), help_text, kind))
        if kind is None:
            for place, inner in _inner_tables(annotation, name):
                found += [evolve(key, name=f"{place}.{key.name}") for key in describe_fields(inner)]
    return found


def field_types(cls: type) -> dict[str, Any]:
    """Each attrs field's type, resolved where its class was written; NameError for a name unknown there.

    Only fields are resolved: what a ClassVar is annotated with does not matter to a recipe.
    """
    found: dict[str, Any] = {}
    for attribute in attrs.fields(cls):
        annotation = attribute.type
        if isinstance(annotation, str):
            owner = next(base for base in cls.__mro__ if attribute.name in get_annotations(base))
            annotation = _resolve(annotation, owner)
        found[attribute.name] = Any if annotation is None else annotation
    return found


def _resolve(annotation: str, owner: type) -> Any:
    """The type that a string annotation names, strings within it too."""
    names = vars(sys.modules[owner.__module__]) if owner.__module__ in sys.modules else {}
    holder = types.SimpleNamespace(__annotations__={"it": annotation})
    return typing.get_type_hints(holder, globalns=names, localns=dict(vars(owner)), include_extras=True)["it"]


def type_text(annotation: Any) -> str:
    """A type as the values that TOML has for it."""
    if annotation in _PLAIN:
        return _PLAIN[annotation]
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is typing.Annotated:
        return type_text(arguments[0])
    if origin is Literal:
        return " | ".join(UNSET if value is None else _toml(value) for value in arguments)
    if origin in (Union, types.UnionType):
        return " | ".join(sorted((type_text(item) for item in arguments), key=lambda text: text == UNSET))
    if origin in (tuple, list) and (len(arguments) == 1 or arguments[1:] == (Ellipsis,)):
        return f"list of {type_text(arguments[0])}"
    if origin is tuple:
        return f"[{', '.join(type_text(item) for item in arguments)}]"
    if _is_mapping(annotation):
        inner = type_text(arguments[-1])
        return f"table of {'tables' if inner == 'table' else inner}"
    if isinstance(annotation, type) and attrs.has(annotation) and annotation is not Part:
        return "table"
    return getattr(annotation, "__name__", str(annotation))


def _inner_tables(annotation: Any, name: str) -> list[tuple[str, type]]:
    """Where tables with keys of their own stand in a field, and their options classes.

    ``Scaling | None`` is a table itself, ``dict[str, Selection]`` has one for each name.
    """
    if get_origin(annotation) in (Union, types.UnionType):
        return [found for member in get_args(annotation) for found in _inner_tables(member, name)]
    if _is_mapping(annotation) and get_args(annotation):
        return _inner_tables(get_args(annotation)[-1], f"{name}.NAME")
    known = isinstance(annotation, type) and attrs.has(annotation) and annotation is not Part
    return [(name, annotation)] if known else []


def _is_mapping(annotation: Any) -> bool:
    origin = get_origin(annotation)
    return isinstance(origin, type) and issubclass(origin, Mapping)


def default_text(attribute: attrs.Attribute[Any]) -> str:
    """A field's default as TOML writes it, ``unset``, or ``required``."""
    default: Any = attribute.default
    if default is attrs.NOTHING:
        return REQUIRED
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]
        if default.takes_self:
            return "derived from other keys"
        default = default.factory()
    return UNSET if default is None else _toml(default)


def bounds_text(validator: Any) -> str:
    """What attrs' own validators ask for, such as ``>= 1, < 8``; empty for any other."""
    if validator is None:
        return ""
    if hasattr(validator, "compare_op") and hasattr(validator, "bound"):
        return f"{validator.compare_op} {validator.bound}"
    if hasattr(validator, "_validators"):
        return ", ".join(filter(None, map(bounds_text, validator._validators)))
    if hasattr(validator, "validator"):
        return bounds_text(validator.validator)
    if hasattr(validator, "options"):
        return f"one of {', '.join(_toml(option) for option in validator.options)}"
    return ""


def _type_of(attribute: attrs.Attribute[Any], annotation: Any) -> str:
    kind = part_kind(attribute)
    text = type_text(annotation)
    if kind is not None:
        return text.replace("Part", f"part of kind {kind}")
    bounds = bounds_text(attribute.validator)
    return f"{text} ({bounds})" if bounds else text


def _toml(value: Any) -> str:
    from neobert.toml_text import toml_text

    return toml_text(value)
