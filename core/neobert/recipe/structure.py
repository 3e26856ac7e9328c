"""From merged layers to frozen options, strictly, with every fault kept instead of raised.

What could not be structured is `FAILED`: its faults are in the findings, and its neighbours are structured
all the same, so that all faults of a recipe come in one answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args, get_origin

import attrs
from attrs import NOTHING, Attribute, frozen

from neobert.describe import field_types
from neobert.errors import UserError
from neobert.parts import Part, part_kind
from neobert.recipe.fields import default_layers, default_of
from neobert.recipe.merge import MergedPart, Stacks, merge_part, merge_table
from neobert.recipe.nodes import COMMAND_LINE, DEFAULT, Key, Node, Text, plain
from neobert.recipe.overrides import as_part, candidates, is_none
from neobert.recipe.paths import home_expanded
from neobert.recipe.unknown import Table
from neobert.recipe.validators import bounded, fault, said_by
from neobert.recipe.values import MismatchError, convert, has_tables, in_words, is_mapping, shape_of
from neobert.toml_text import key_of, recipe_fields

if TYPE_CHECKING:
    from collections.abc import Sequence

    from neobert.recipe.findings import Findings

FAILED: Any = object()
LEFT_OUT: Any = object()
"""No layer says anything of a key: its class's own default stands."""


@frozen
class Structurer:
    """Structures one recipe. Every method takes the layers of one key, lowest first, and the key's path."""

    findings: Findings

    def part(self, kind: str, layers: Sequence[Node], path: Key, served: type | None = None) -> Any:
        """A `Part`: the keys that the core serves are taken first, the others are the plugin's options."""
        before = self._faults()
        served_keys = [key_of(attribute) for attribute in recipe_fields(served)] if served else []
        merged = merge_part(layers, served_keys, path, self.findings.problems)
        plugin = self._plugin(kind, merged, path, well_formed=self._faults() == before)
        here = merged.name or Node({}, merged.where or self.findings.recipe)
        serving = self.options(served, merged.stacks, path, here) if served else None
        options, own_keys = FAILED, []
        if plugin is not None:
            options = self.options(plugin.options_class, merged.stacks, path, here)
            own_keys = [key_of(attribute) for attribute in recipe_fields(plugin.options_class)]
        keys = ("name", *served_keys, *own_keys)
        self.findings.tables[path] = Table(keys, kind, plugin.name if plugin is not None else None)
        self.findings.leftover(merged.stacks, path, certain=plugin is not None, named=merged.name is not None)
        if plugin is None or self._faults() > before:
            return FAILED
        self.findings.said((*path, "name"), here.where)
        return Part(kind=kind, name=plugin.name, options=options, served=serving, distribution=plugin.distribution)

    def part_list(self, kind: str, layers: Sequence[Node], path: Key) -> Any:
        """A tuple of parts: a layer replaces it whole; an override may change an item by its index."""
        items = self._items(layers, path, f"a list of {kind} parts, such as {_sample(layers)}")
        return _together([self.part(kind, item, (*path, index)) for index, item in enumerate(items)], tuple)

    def options(self, cls: Any, stacks: Stacks, path: Key, here: Node) -> Any:
        """An instance of an options class. The keys that it takes are removed from ``stacks``."""
        before = self._faults()
        annotations = field_types(cls)
        partial = cls.__new__(cls)
        values: dict[str, Any] = {}
        given: list[tuple[Attribute[Any], Node]] = []
        for attribute in recipe_fields(cls):
            key = key_of(attribute)
            layers = stacks.pop(key, [])
            value = self._field(attribute, annotations[attribute.name], layers, (*path, key), here)
            if value is FAILED:
                continue
            if value is not LEFT_OUT:
                values[key] = value
            if layers:
                given.append((attribute, layers[-1]))
            self._put(partial, attribute, value, layers, (*path, key))
        for attribute, node in given:
            reason = fault(attribute, annotations[attribute.name], partial)
            if reason is not None:
                self.findings.fault(node, (*path, key_of(attribute)), reason)
        if self._faults() > before:
            return FAILED
        try:
            return cls(**values)
        except Exception as error:
            self.findings.fault(here, path, said_by(error))
            return FAILED

    def value(self, annotation: Any, layers: Sequence[Node], path: Key, owner: Attribute[Any] | None = None) -> Any:
        """A value of any type but a part. ``owner`` is the field whose metadata speaks for it."""
        shape = shape_of(annotation)
        if _unsets(layers[-1], annotation):
            if not shape.optional:
                expected = bounded(_expected(annotation), owner)
                self.findings.fault(layers[-1], path, f"cannot be unset; {expected}")
                return FAILED
            self.findings.said(path, layers[-1].where)
            return None
        tables = [member for member in shape.members if attrs.has(member) or is_mapping(member)]
        if tables and (len(shape.members) == 1 or _is_table(layers[-1])):
            stacks = merge_table(_table_layers(layers, shape.members), path, self.findings.problems)
            return self._table(tables[0], stacks, path, layers[-1], owner)
        if len(shape.members) == 1 and has_tables(annotation):
            return self._table_list(shape.members[0], layers, path, owner)
        return self._plain(annotation, layers[-1], path, owner)

    def _field(self, attribute: Attribute[Any], annotation: Any, given: Sequence[Node], path: Key, here: Node) -> Any:
        kind = part_kind(attribute)
        layers = [*default_layers(attribute), *given]
        required = attribute.default is NOTHING
        if kind is not None and (layers or shape_of(annotation).members[0] is Part):
            return self._parts(kind, annotation, layers, path)
        if given:
            return self.value(annotation, layers, path, attribute)
        if required:
            about = attribute.metadata.get("help", "")
            expected = bounded(_expected(annotation), attribute)
            self.findings.missing(here.where, path, f"missing: {expected}" + (f" ({about})" if about else ""))
            return FAILED
        return LEFT_OUT

    def _put(self, partial: Any, attribute: Attribute[Any], value: Any, layers: Sequence[Node], path: Key) -> None:
        """Sets a field of the unfinished instance that validators look at, converted as in its class."""
        try:
            if value is LEFT_OUT:
                value = default_of(attribute, partial)
            if attribute.converter is not None:
                converter: Any = attribute.converter
                with_context = isinstance(converter, attrs.Converter)
                value = converter(value, partial, attribute) if with_context else converter(value)
        except Exception as error:
            if layers:
                self.findings.fault(layers[-1], path, said_by(error))
            return
        object.__setattr__(partial, attribute.name, value)

    def _plugin(self, kind: str, merged: MergedPart, path: Key, *, well_formed: bool) -> Any:
        """The plugin that a part names, usable or not; None where there is none such."""
        registry = self.findings.registry
        if merged.name is None:
            if well_formed:
                names = ", ".join(registry.names(kind)) or "none"
                self.findings.missing(merged.where, (*path, "name"), f"missing: no {kind} is named\navailable: {names}")
            return None
        plugin = None
        try:
            name, by_default = merged.name.value, merged.name.where == DEFAULT
            plugin = registry.find(kind, name, by_default=by_default)
            registry.usable(kind, name, by_default=by_default)
        except UserError as error:
            self.findings.fault(merged.name, merged.key, getattr(error, "hint", str(error)))
        return plugin

    def _parts(self, kind: str, annotation: Any, layers: Sequence[Node], path: Key) -> Any:
        shape = shape_of(annotation).members[0]
        if get_origin(shape) in (tuple, list):
            return self.part_list(kind, layers, path)
        if not is_mapping(shape):
            return self.part(kind, layers, path)
        stacks = merge_table(layers, path, self.findings.problems)
        kept = {key: stack for key, stack in stacks.items() if not is_none(stack[-1])}
        self.findings.said(path, layers[-1].where)
        return _together({key: self.part(kind, stack, (*path, key)) for key, stack in kept.items()}, dict)

    def _table(self, annotation: Any, stacks: Stacks, path: Key, here: Node, owner: Attribute[Any] | None) -> Any:
        before = self._faults()
        if is_mapping(annotation):
            item_type = (get_args(annotation) or (str, Any))[1]
            kept = {key: stack for key, stack in stacks.items() if not is_none(stack[-1])}
            items = {key: self.value(item_type, stack, (*path, key), owner) for key, stack in kept.items()}
            self.findings.said(path, here.where)
            return FAILED if self._faults() > before else items
        instance = self.options(annotation, stacks, path, Node({}, here.where))
        keys = tuple(key_of(attribute) for attribute in recipe_fields(annotation))
        self.findings.tables[path] = Table(keys)
        self.findings.leftover(stacks, path)
        return instance

    def _table_list(self, annotation: Any, layers: Sequence[Node], path: Key, owner: Attribute[Any] | None) -> Any:
        """A list of tables: each of their keys is told on its own."""
        before = self._faults()
        item_type = (get_args(annotation) or (Any,))[0]
        stacks = self._items(layers, path, in_words(annotation))
        items = [self.value(item_type, stack, (*path, index), owner) for index, stack in enumerate(stacks)]
        shape = tuple if get_origin(annotation) is tuple else list
        return FAILED if self._faults() > before else shape(items)

    def _items(self, layers: Sequence[Node], path: Key, expected: str) -> list[list[Node]]:
        """The layers of each item of a list whose items have keys."""
        items: list[list[Node]] = []
        for layer in layers:
            node = as_part(layer.value) if isinstance(layer.value, Text) else layer
            if isinstance(node.value, list):
                items = [[item] for item in node.value]
                self.findings.said(path, node.where)
            elif isinstance(node.value, dict) and all(key.isdecimal() for key in node.value):
                for key, item in node.value.items():
                    if int(key) < len(items):
                        items[int(key)].append(item)
                    else:
                        self.findings.fault(item, (*path, key), f"there is no item {key}: the list has {len(items)}")
            else:
                self.findings.fault(layer, path, f"expected {expected}")
        return items

    def _plain(self, annotation: Any, node: Node, path: Key, owner: Attribute[Any] | None) -> Any:
        metadata = owner.metadata if owner is not None else {}
        options = candidates(node.value, annotation) if isinstance(node.value, Text) else [plain(node)]
        reasons = []
        for option in options:
            try:
                value = convert(option, annotation, nonfinite=bool(metadata.get("nonfinite")))
            except MismatchError as mismatch:
                reasons.append(bounded(str(mismatch), owner))
                reasons += [why for name, why in metadata.get("refused", {}).items() if name == option]
            else:
                self.findings.said(path, node.where)
                return home_expanded(value, owner)
        self.findings.fault(node, path, "\n".join(dict.fromkeys(reasons)))
        return FAILED

    def _faults(self) -> int:
        return len(self.findings.problems)


def _expected(annotation: Any) -> str:
    return f"expected {in_words(annotation)}"


def _unsets(node: Node, annotation: Any) -> bool:
    """A Literal that has the word ``none`` among its values keeps it."""
    return is_none(node) and not any("none" in get_args(member) for member in shape_of(annotation).members)


def _is_table(node: Node) -> bool:
    return isinstance(node.value.value() if isinstance(node.value, Text) else node.value, dict)


def _table_layers(layers: Sequence[Node], members: Sequence[Any]) -> list[Node]:
    """The layers that build on each other: those after the last that unset the key, or that was no table."""
    kept: list[Node] = []
    for layer in layers:
        if is_none(layer) or (len(members) > 1 and not _is_table(layer)):
            kept = []
        else:
            kept.append(layer)
    return kept


def _together(items: Any, shape: type) -> Any:
    """The collection, or FAILED if one of its items is."""
    values = items.values() if isinstance(items, dict) else items
    return FAILED if any(value is FAILED for value in values) else shape(items)


def _sample(layers: Sequence[Node]) -> str:
    return """'["NAME"]'""" if layers and layers[-1].where == COMMAND_LINE else '["NAME"]'
