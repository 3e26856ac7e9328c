"""What a field's validators have to say, in words where they are attrs' own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from neobert.describe import bounds_text
from neobert.recipe.values import in_words, shape_of
from neobert.toml_text import recipe_fields

if TYPE_CHECKING:
    from collections.abc import Iterator

    from attrs import Attribute


def fault(attribute: Attribute[Any], annotation: Any, instance: Any) -> str | None:
    """Why a field's validators refuse the instance's value, or None.

    ``instance`` holds the fields that are known; an AttributeError for another one is no fault of this field.
    """
    if not hasattr(instance, attribute.name):
        return None
    value = getattr(instance, attribute.name)
    for validator in _each(attribute.validator, value):
        try:
            validator(instance, attribute, value)
        except AttributeError:
            if _is_whole(instance):
                raise
        except Exception as error:
            return _words(validator, annotation) or said_by(error)
    return None


def bounded(expected: str, attribute: Attribute[Any] | None) -> str:
    """What a type expects, with the bounds that the field's validators add to it."""
    bounds = bounds_text(attribute.validator) if attribute is not None else ""
    return f"{expected} {bounds}" if bounds and not bounds.startswith("one of") else expected


def said_by(error: Exception) -> str:
    """An exception's own words."""
    first = error.args[0] if error.args else ""
    return first if isinstance(first, str) and first else f"{type(error).__name__}: {error}"


def _each(validator: Any, value: Any) -> Iterator[Any]:
    """The single validators that apply to the value, in their order."""
    if validator is None:
        return
    if hasattr(validator, "_validators"):
        for inner in validator._validators:
            yield from _each(inner, value)
    elif type(validator).__name__ == "_OptionalValidator":
        if value is not None:
            yield from _each(validator.validator, value)
    else:
        yield validator


def _words(validator: Any, annotation: Any) -> str | None:
    expected = in_words(shape_of(annotation).members[0])
    bounds = bounds_text(validator)
    if bounds:
        return f"expected {bounds}" if bounds.startswith("one of") else f"expected {expected} {bounds}"
    for name, word in (("min_length", "at least"), ("max_length", "at most")):
        if hasattr(validator, name):
            return f"expected {expected} with a length of {word} {getattr(validator, name)}"
    return None


def _is_whole(instance: Any) -> bool:
    return all(hasattr(instance, attribute.name) for attribute in recipe_fields(type(instance)))
