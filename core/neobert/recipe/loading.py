"""Load a recipe: files and command line to layers, layers to parts, and every fault in one answer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from neobert.errors import Problem, RecipeError
from neobert.kinds import KINDS
from neobert.recipe.checks import combination_problems
from neobert.recipe.findings import Findings
from neobert.recipe.merge import merge_table
from neobert.recipe.objectives import PARTS, layers_with_objectives, structure_objectives
from neobert.recipe.overrides import TABLES, override_layers
from neobert.recipe.source import read_layers, shown
from neobert.recipe.structure import FAILED, Structurer
from neobert.recipe.trainer import TrainerOptions
from neobert.recipe.tree import Recipe
from neobert.recipe.unknown import Table

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from neobert.recipe.nodes import Node
    from neobert.registry import Registry


def load_recipe(
    path: str | os.PathLike[str], overrides: Sequence[str] = (), *, registry: Registry | None = None
) -> Recipe:
    """The recipe at ``path`` with ``overrides`` such as ``["--trainer.max_steps", "2000", "--loss=NAME"]``.

    Raises `RecipeError` with every fault that could be found: of form, of types, of names, of combinations.
    ``registry`` (default: the process's own) is where plugins are looked up.
    """
    if registry is None:
        from neobert.registry import default_registry

        registry = default_registry()
    problems: list[Problem] = []
    layers = read_layers(Path(path), problems)
    if problems and len(layers) == 1:
        raise RecipeError(problems)
    findings = Findings(registry, shown(Path(path)), complete=not problems, problems=problems)
    layers += override_layers(overrides, problems)
    tables = _structure(layers, findings)
    found = findings.all_problems()
    if found:
        raise RecipeError(found)
    recipe = Recipe(**tables, path=Path(path), overrides=tuple(overrides), explicit_origins=findings.origins)
    found = combination_problems(recipe, registry)
    if found:
        raise RecipeError(found)
    return recipe


def _structure(layers: Sequence[Node], findings: Findings) -> dict[str, Any]:
    structurer = Structurer(findings)
    defaults = layers[0].value
    layers, objectives = layers_with_objectives(layers, findings.problems)
    stacks = merge_table(layers, (), findings.problems)
    tables: dict[str, Any] = {}
    if objectives:
        tables = _with_first(structure_objectives(structurer, objectives, defaults))
    for kind in KINDS.values():
        if kind.key is None:
            continue
        stack = stacks.pop(kind.key, [])
        if objectives and kind.key in PARTS:
            continue
        if kind.key == kind.name:
            tables[kind.key] = structurer.part(kind.name, stack, (kind.key,), kind.served)
        else:
            tables[kind.key] = structurer.part_list(kind.name, stack, (kind.key,))
    tables["trainer"] = structurer.value(TrainerOptions, stacks.pop("trainer"), ("trainer",))
    findings.tables[()] = Table((*TABLES, "extends", "unset"))
    findings.leftover(stacks, ())
    assert FAILED not in tables.values() or findings.problems or findings.unknown or not findings.complete
    return tables


def _with_first(objectives: Any) -> dict[str, Any]:
    """Objectives, and the parts of the first one for whoever asks for no objective's own."""
    if objectives is FAILED or not objectives:
        return {"objectives": FAILED}
    first = next(iter(objectives.values()))
    return {"objectives": objectives, **{kind: getattr(first, kind) for kind in PARTS}}
