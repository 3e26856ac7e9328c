"""Several objectives in one recipe: ``[objectives.NAME]`` tables in place of one dataset, collator and loss."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import field, frozen
from attrs.validators import and_, gt, le

from neobert.errors import Problem
from neobert.kinds import KINDS
from neobert.parts import Part
from neobert.recipe.merge import merge_table
from neobert.recipe.nodes import Key, Node, dotted
from neobert.recipe.overrides import is_none
from neobert.recipe.structure import FAILED, Structurer
from neobert.recipe.unknown import Table
from neobert.toml_text import key_of, recipe_fields

if TYPE_CHECKING:
    from neobert.recipe.tree import Recipe

TABLE = "objectives"
PARTS = ("dataset", "datacollator", "loss")
"""What an objective is made of; without objectives they stand at the top of a recipe."""
_NAME = re.compile(r"[A-Za-z0-9_-]+")


@frozen(kw_only=True)
class ObjectiveKeys:
    """How often a step is one of this objective's."""

    probability: float = field(
        validator=and_(gt(0.0), le(1.0)),
        metadata={"help": "of a step to be this objective's; those of all objectives add up to 1"},
    )


@frozen(kw_only=True)
class ObjectiveTable(ObjectiveKeys):
    """One ``[objectives.NAME]``: what its steps optimise, and how many of the run's they are."""

    dataset: Part
    datacollator: Part
    loss: Part


def layers_with_objectives(layers: Sequence[Node], problems: list[Problem]) -> tuple[list[Node], list[Node]]:
    """(the other tables' layers, what layers say of ``objectives``), lowest first.

    A recipe's objectives take the place of the tables that it extends; where one layer, or a higher one, says both,
    that is added to ``problems``.
    """
    said = [layer.value.get(TABLE) if isinstance(layer.value, dict) else None for layer in layers]
    unset = max((place for place, node in enumerate(said) if node is not None and is_none(node)), default=-1)
    speaking = [place for place, node in enumerate(said) if node is not None and place > unset]
    if not speaking:
        return [_without(layer, (TABLE,)) for layer in layers], []
    kept = []
    for place, layer in enumerate(layers):
        if place >= speaking[0] and isinstance(layer.value, dict):
            problems += [_in_place_of(key, layer.value[key]) for key in PARTS if key in layer.value]
        kept.append(_without(layer, (TABLE, *PARTS)))
    return kept, [node for node in (said[place] for place in speaking) if node is not None]


def structure_objectives(
    structurer: Structurer, said: Sequence[Node], defaults: Mapping[str, Node]
) -> Mapping[str, ObjectiveTable] | Any:
    """The objectives by name, in the order in which they are first said. ``defaults`` are the lowest layer's tables."""
    findings = structurer.findings
    stacks = merge_table(said, (TABLE,), findings.problems)
    kept = {name: stack for name, stack in stacks.items() if not is_none(stack[-1])}
    for name, stack in kept.items():
        if _NAME.fullmatch(name) is None:
            findings.fault(
                Node({}, stack[-1].where), (TABLE, name), "an objective's name is letters, digits, `_` and `-`"
            )
    if not kept:
        where = said[-1].where
        findings.problems.append(Problem(where, TABLE, None, "names no objective: [objectives.NAME] tables do"))
    findings.tables[(TABLE,)] = Table(tuple(kept))
    found = {name: _objective(structurer, stack, (TABLE, name), defaults) for name, stack in kept.items()}
    return FAILED if any(table is FAILED for table in found.values()) else found


def view_of(recipe: Recipe, name: str) -> Recipe:
    """The recipe as it would be if this objective were its only one; what each value comes from is kept."""
    from attrs import evolve

    table, prefix = recipe.objectives[name], f"{dotted((TABLE, name))}."
    origins = {
        key.removeprefix(prefix): where
        for key, where in recipe.explicit_origins.items()
        if key.startswith(prefix) or not key.startswith(f"{TABLE}.")
    }
    return evolve(
        recipe,
        objectives={},
        explicit_origins=origins,
        **{kind: getattr(table, kind) for kind in PARTS},
    )


def full_key(name: str, key: str) -> str:
    """Where a key of `view_of` stands in the recipe itself."""
    return f"{dotted((TABLE, name))}.{key}" if name and key.partition(".")[0] in PARTS else key


def plain_key(key: str) -> str:
    """A key of the recipe as `view_of` has it: ``objectives.mlm.loss.name`` is ``loss.name`` there."""
    table, _, rest = key.partition(".")
    return rest.partition(".")[2] if table == TABLE else key


def objective_problems(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Probabilities that are no division of the steps."""
    total = math.fsum(table.probability for table in recipe.objectives.values())
    if recipe.objectives and not math.isclose(total, 1.0, abs_tol=1e-6):
        each = ", ".join(f"{name} {table.probability:g}" for name, table in recipe.objectives.items())
        first = next(iter(recipe.objectives))
        yield (
            dotted((TABLE, first, "probability")),
            f"the probabilities of all objectives add up to {total:g}, expected 1: {each}",
        )


def _objective(structurer: Structurer, stack: Sequence[Node], path: Key, defaults: Mapping[str, Node]) -> Any:
    findings = structurer.findings
    before = len(findings.problems) + len(findings.unknown)
    stacks = merge_table(stack, path, findings.problems)
    parts = {}
    for kind in PARTS:
        layers = [*([defaults[kind]] if kind in defaults else []), *stacks.pop(kind, [])]
        if not layers:
            message = "missing: an objective has a dataset of its own" if kind == "dataset" else "missing"
            findings.missing(stack[-1].where, (*path, kind), message)
            continue
        parts[kind] = structurer.part(kind, layers, (*path, kind), KINDS[kind].served)
    keys = structurer.options(ObjectiveKeys, stacks, path, Node({}, stack[-1].where))
    findings.tables[path] = Table((*PARTS, *(key_of(attribute) for attribute in recipe_fields(ObjectiveKeys))))
    findings.leftover(stacks, path)
    if len(findings.problems) + len(findings.unknown) > before or FAILED in (keys, *parts.values()):
        return FAILED
    return ObjectiveTable(probability=keys.probability, **parts)


def _without(layer: Node, keys: Sequence[str]) -> Node:
    if not isinstance(layer.value, dict):
        return layer
    return Node({key: node for key, node in layer.value.items() if key not in keys}, layer.where)


def _in_place_of(key: str, node: Node) -> Problem:
    return Problem(
        node.where,
        key,
        None,
        f"this recipe has objectives, each with a {key} of its own: say it there ([objectives.NAME.{key}])",
    )
