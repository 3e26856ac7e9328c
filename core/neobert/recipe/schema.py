"""A JSON schema (draft 2020-12) of recipes, from the options classes of the plugins that are installed.

Editors complete and check keys by it: a line ``#:schema FILE`` at a recipe's top names it. It knows types, bounds and
names, not which combinations work: that is what ``--check`` is for.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin

import attrs
from attrs import Attribute

from neobert.describe import bounds_text, field_types
from neobert.kinds import KINDS, Kind
from neobert.parts import Part, part_kind
from neobert.recipe.fields import default_of
from neobert.recipe.objectives import PARTS, TABLE, ObjectiveKeys
from neobert.recipe.trainer import TrainerOptions
from neobert.registry import Registry
from neobert.toml_text import key_of, recipe_fields, toml_value

Schema = dict[str, Any]
_PLAIN: dict[Any, Schema] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
}
_BOUNDS = {">=": "minimum", ">": "exclusiveMinimum", "<=": "maximum", "<": "exclusiveMaximum"}


def recipe_schema(registry: Registry) -> Schema:
    """Of whole recipes. A part is a plugin's name, or a table with `name` and that plugin's keys."""
    top: Schema = {
        "extends": {"type": "string", "description": "the recipe that this one builds on, relative to this file"},
        "unset": {"type": "array", "items": {"type": "string"}, "description": "dotted keys to unset"},
    }
    for kind in KINDS.values():
        if kind.key is not None:
            one = {"$ref": f"#/$defs/{kind.name}"}
            top[kind.key] = one if kind.key == kind.name else {"type": "array", "items": one}
    objective = _table(_properties(ObjectiveKeys) | {kind: {"$ref": f"#/$defs/{kind}"} for kind in PARTS})
    top[TABLE] = {"type": "object", "additionalProperties": objective}
    top["trainer"] = _table(_properties(TrainerOptions))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "neobert recipe",
        **_table(top),
        "$defs": {kind.name: _part(kind, registry) for kind in KINDS.values()},
    }


def _part(kind: Kind, registry: Registry) -> Schema:
    """A name, or a table; one that leaves out `name` builds on a lower layer, and may have any plugin's keys."""
    plugins = [plugin for plugin in registry.plugins if plugin.kind == kind.name]
    served = _properties(kind.served) if kind.served is not None else {}
    own = [_properties(plugin.options_class) for plugin in plugins]
    named = [
        {"description": plugin.summary, **_table({"name": {"const": plugin.name}} | served | keys, ["name"])}
        for plugin, keys in zip(plugins, own, strict=True)
    ]
    nameless = _table(served | _any_of(own))
    return {"anyOf": [{"enum": sorted({plugin.name for plugin in plugins})}, *named, nameless]}


def _any_of(tables: list[Schema]) -> Schema:
    """Each key as any of them has it."""
    found: dict[str, list[Schema]] = {}
    for table in tables:
        for key, schema in table.items():
            if schema not in found.setdefault(key, []):
                found[key].append(schema)
    return {key: schemas[0] if len(schemas) == 1 else {"anyOf": schemas} for key, schemas in found.items()}


def _table(properties: Schema, required: list[str] | None = None) -> Schema:
    schema: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return schema | ({"required": required} if required else {})


def _properties(cls: type) -> Schema:
    annotations = field_types(cls)
    return {key_of(field): _field(field, annotations[field.name]) for field in recipe_fields(cls)}


def _field(attribute: Attribute[Any], annotation: Any) -> Schema:
    kind = part_kind(attribute)
    schema = _of_type(annotation, kind)
    if kind is None:
        schema = schema | _bounds(attribute)
    if (said := attribute.metadata.get("help")) is not None:
        schema = schema | {"description": said}
    default = default_of(attribute)
    if kind is None and default is not attrs.NOTHING and default is not None and not attrs.has(type(default)):
        schema = schema | {"default": toml_value(default)}
    return schema


def _bounds(attribute: Attribute[Any]) -> Schema:
    """Those of a number; of anything else, validators say what a schema cannot."""
    found: Schema = {}
    for bound in bounds_text(attribute.validator).split(", "):
        sign, _, number = bound.partition(" ")
        if sign in _BOUNDS and number.replace(".", "").replace("-", "").replace("e", "").isdecimal():
            found[_BOUNDS[sign]] = float(number) if "." in number or "e" in number else int(number)
    return found


def _of_type(annotation: Any, kind: str | None) -> Schema:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation is Part:
        return {"$ref": f"#/$defs/{kind}"}
    if annotation in _PLAIN:
        return dict(_PLAIN[annotation])
    if origin is Literal:
        return {"enum": [value for value in arguments if value is not None]}
    if origin in (Union, types.UnionType):
        members = [_of_type(item, kind) for item in arguments if item is not type(None)]
        return members[0] if len(members) == 1 else {"anyOf": members}
    if origin in (tuple, list):
        return _array(arguments, kind)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": _of_type(arguments[-1], kind)}
    if isinstance(annotation, type) and attrs.has(annotation):
        return _table(_properties(annotation))
    return {}


def _array(arguments: tuple[Any, ...], kind: str | None) -> Schema:
    if len(arguments) == 1 or arguments[1:] == (Ellipsis,):
        return {"type": "array", "items": _of_type(arguments[0], kind)}
    items = [_of_type(item, kind) for item in arguments]
    return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}
