"""What makes an options class fit to be a recipe's table. Each function returns what is wrong, or None."""

from __future__ import annotations

import re
from inspect import get_annotations
from typing import Any

import attrs

from neobert.capabilities import Capabilities
from neobert.describe import field_types
from neobert.kinds import KINDS
from neobert.registry.requirements import invalid_requirement
from neobert.roles import Roles

_NAME = re.compile(r"[\w.+-]+")
_CLASS_VAR = re.compile(r"['\"]?(\w+\.)*ClassVar\b")
_NOT_FIELDS = ("requires", "capabilities")


def fault_of(kind: str, name: object, options_class: object) -> str | None:
    """The first thing that keeps ``options_class`` from being the plugin ``name`` of this kind, or None."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        return f"a plugin's name is a string of letters, digits and any of _ . + -, got {name!r}"
    if not isinstance(options_class, type):
        return f"{name!r} is {options_class!r}; a hook returns classes, by name"
    return (
        _shape_fault(options_class)
        or _field_fault(kind, options_class)
        or _requires_fault(options_class)
        or _methods_fault(options_class)
        or (_capabilities_fault(options_class) if kind == "attn_backend" else None)
        or (_roles_fault(options_class) if kind == "datacollator" else None)
    )


def _shape_fault(cls: type) -> str | None:
    if not attrs.has(cls):
        return f"{cls.__qualname__} is no attrs class: put @attrs.frozen(kw_only=True) above it"
    if not callable(getattr(cls, "build", None)):
        return f"{cls.__qualname__} has no method build(self, context)"
    fields = attrs.fields_dict(cls)
    for name, annotation in get_annotations(cls).items():
        if name not in fields and not _is_class_var(annotation):
            return (
                f"{cls.__qualname__}.{name} is annotated and yet is no field, so no recipe could set it: "
                "put @attrs.frozen(kw_only=True) above the class, or annotate it ClassVar"
            )
    return None


def _is_class_var(annotation: object) -> bool:
    text = annotation if isinstance(annotation, str) else str(annotation)
    return _CLASS_VAR.match(text) is not None


def _field_fault(kind: str, cls: type) -> str | None:
    fields = attrs.fields_dict(cls)
    if "name" in fields:
        return f"{cls.__qualname__} has a field called `name`, which picks the plugin in a recipe: rename it"
    for name in (*_NOT_FIELDS, *(("roles",) if kind == "datacollator" else ())):
        if name in fields:
            return f"{cls.__qualname__}.{name} is a field: annotate it ClassVar, so that it belongs to the class"
    served: Any = KINDS[kind].served
    for name in () if served is None else attrs.fields_dict(served):
        if name in fields:
            return f"{cls.__qualname__} has a field called `{name}`, a key that the core serves for every {kind}"
    try:
        field_types(cls)
    except Exception as error:
        return (
            f"the types of {cls.__qualname__}'s fields cannot be resolved ({error}): "
            "import them at the top of the module, not under TYPE_CHECKING"
        )
    return None


def _requires_fault(cls: type) -> str | None:
    requires: Any = getattr(cls, "requires", ())
    if not isinstance(requires, tuple | list) or not all(isinstance(item, str) for item in requires):
        return f"{cls.__qualname__}.requires is a tuple of requirements, got {requires!r}"
    for item in requires:
        reason = invalid_requirement(item)
        if reason is not None:
            return f"{cls.__qualname__}.requires has {item!r}, which is no requirement: {reason}"
    return None


def _methods_fault(cls: type) -> str | None:
    for name in ("available", "check"):
        if hasattr(cls, name) and not callable(getattr(cls, name)):
            return f"{cls.__qualname__}.{name} is {getattr(cls, name)!r}; it is a method"
    return None


def _capabilities_fault(cls: type) -> str | None:
    capabilities: Any = getattr(cls, "capabilities", Capabilities())
    if not isinstance(capabilities, Capabilities):
        return f"{cls.__qualname__}.capabilities is a neobert.Capabilities, got {capabilities!r}"
    return None


def _roles_fault(cls: type) -> str | None:
    roles: Any = getattr(cls, "roles", None)
    if not isinstance(roles, Roles | property | None):
        return f"{cls.__qualname__}.roles is a neobert.Roles, got {roles!r}"
    return None
