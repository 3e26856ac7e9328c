"""A recipe once loaded: a frozen tree of parts and options, with where each value came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import attrs
from attrs import Attribute, field, frozen

from neobert.parts import Part
from neobert.recipe.nodes import DEFAULT, Key, dotted
from neobert.recipe.objectives import PARTS, TABLE, ObjectiveTable, view_of
from neobert.recipe.overrides import TABLES
from neobert.recipe.paths import absolute_paths
from neobert.toml_text import key_of, recipe_fields, toml_value

if TYPE_CHECKING:
    from pathlib import Path

    from neobert.recipe.trainer import TrainerOptions


@frozen(kw_only=True, eq=False)
class Recipe:
    """What a run does. Dotted keys are attribute paths: ``recipe.model.attn_backend.name``.

    Two recipes are equal when every value is, wherever it came from and however its paths are written.
    """

    model: Part
    tokenizer: Part
    dataset: Part
    datacollator: Part
    loss: Part
    optimizer: Part
    scheduler: Part
    checkpointer: Part
    trackers: tuple[Part, ...]
    objectives: Mapping[str, ObjectiveTable] = field(factory=dict)
    """Several, by name; ``dataset``, ``datacollator`` and ``loss`` are the first one's then. Empty: there is one."""
    trainer: TrainerOptions
    path: Path
    """The file it was loaded from."""
    overrides: tuple[str, ...] = ()
    """The command line's own words, as `load_recipe` was given them."""
    explicit_origins: Mapping[str, str] = field(factory=dict, repr=False)
    """Where the values come from that some layer gave."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Recipe) and self.flat(absolute=True) == other.flat(absolute=True)

    __hash__ = None  # type: ignore[assignment]

    @property
    def origins(self) -> dict[str, str]:
        """Dotted key -> ``file:line``, ``command line`` or ``default``, for every key of `flat`."""
        return {key: self.explicit_origins.get(key, DEFAULT) for key in self.flat()}

    def flat(self, *, absolute: bool = False) -> dict[str, Any]:
        """Dotted key -> its value as TOML has it, None where it is unset; for every key of every part.

        ``absolute``: values that are paths do not depend on the working directory.
        """
        return {dotted(leaf.path): leaf.toml(absolute=absolute) for leaf in self.leaves()}

    def leaves(self) -> Iterator[Leaf]:
        """Every value, in the order of tables and fields."""
        for attribute in self.tables():
            yield from _leaves(getattr(self, attribute.name), (attribute.name,), attribute)

    def parts(self) -> Iterator[tuple[Key, Part]]:
        """Every part with its path, those inside others too; owners before what they own."""
        for attribute in self.tables():
            yield from _parts_in(getattr(self, attribute.name), (attribute.name,))

    def tables(self) -> list[Attribute[Any]]:
        """The fields that are keys of this recipe, in the order in which it is written."""
        absent = PARTS if self.objectives else (TABLE,)
        return [field for field in attrs.fields(type(self)) if field.name in TABLES and field.name not in absent]

    @property
    def views(self) -> Mapping[str, Recipe]:
        """Name -> the recipe as it would be with that objective alone; of a recipe with one, itself under ``""``.

        Whoever asks for `dataset`, `datacollator` or `loss` on behalf of an objective asks its view.
        """
        return {name: view_of(self, name) for name in self.objectives} or {"": self}

    def to_toml(self) -> str:
        """The effective recipe: every value filled in, paths absolute; it loads again to an equal recipe."""
        return self._text

    @cached_property
    def _text(self) -> str:
        """Made once: every save of a run writes it."""
        from neobert.recipe.write import recipe_text

        return recipe_text(self)


@frozen
class Leaf:
    """One value of a recipe."""

    path: Key
    value: Any
    attribute: Attribute[Any] | None = None
    """The field that holds it; None for the name of a part."""

    def toml(self, *, absolute: bool = False) -> Any:
        """The value as TOML has it."""
        return toml_value(absolute_paths(self.value, self.attribute) if absolute else self.value)


def _leaves_of(instance: Any, path: Key) -> Iterator[Leaf]:
    for attribute in recipe_fields(type(instance)):
        yield from _leaves(getattr(instance, attribute.name), (*path, key_of(attribute)), attribute)


def _leaves(value: Any, path: Key, attribute: Attribute[Any]) -> Iterator[Leaf]:
    if isinstance(value, Part):
        yield Leaf((*path, "name"), value.name)
        for holder in (value.served, value.options):
            if holder is not None:
                yield from _leaves_of(holder, path)
    elif attrs.has(type(value)):
        yield from _leaves_of(value, path)
    elif isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _leaves(item, (*path, key), attribute)
    elif _is_list_of_tables(value):
        for index, item in enumerate(value):
            yield from _leaves(item, (*path, index), attribute)
    else:
        yield Leaf(path, value, attribute)


def _parts_in(value: Any, path: Key) -> Iterator[tuple[Key, Part]]:
    if isinstance(value, Part):
        yield path, value
        value = value.options
    if attrs.has(type(value)):
        for attribute in recipe_fields(type(value)):
            yield from _parts_in(getattr(value, attribute.name), (*path, key_of(attribute)))
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _parts_in(item, (*path, key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _parts_in(item, (*path, index))


def _is_list_of_tables(value: Any) -> bool:
    return isinstance(value, list | tuple) and any(attrs.has(type(item)) for item in value)
