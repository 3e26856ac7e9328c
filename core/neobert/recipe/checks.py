"""Combinations that cannot work, found before any data or model is touched."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from neobert.errors import Problem, UserError
from neobert.recipe.nodes import Key, dotted
from neobert.recipe.overrides import TABLES
from neobert.registry import default_registry
from neobert.roles import roles_of, selection_faults
from neobert.toml_text import toml_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from neobert.parts import Part
    from neobert.recipe.tree import Recipe

_ONLY_WITH = {
    "torch_compile_backend": "torch_compile",
    "torch_compile_dynamic": "torch_compile",
    "gradient_checkpointing_every": "gradient_checkpointing",
}
"""Keys of ``[trainer]`` that do nothing, unless another is true."""
_FIRST_WORD = re.compile(r"[\w.]*\w")


def combination_problems(recipe: Recipe) -> list[Problem]:
    """What the core and each part's own ``check`` object to."""
    flat, origins = recipe.flat(), recipe.origins

    def problem(key: str, message: str) -> Problem:
        value = flat.get(key)
        return Problem(origins[key], key, None if value is None else toml_text(value), message)

    found = [problem(key, message) for key, message in _core_checks(recipe)]
    for path, part in recipe.parts():
        for message in _objections(part, recipe):
            key, text = _located(message, path, flat)
            found.append(problem(key, text))
    return found


def _core_checks(recipe: Recipe) -> Iterator[tuple[str, str]]:
    dataset, collator = recipe.dataset, recipe.datacollator
    if dataset.validation_split is not None:
        for key in ("eval_split", "eval_samples"):
            if getattr(dataset, key) is not None:
                yield (
                    "dataset.validation_split",
                    f"contradicts dataset.{key}: each says what to evaluate on; give one of them",
                )
    if collator.pack_sequences and collator.group_by_length:
        yield (
            "datacollator.group_by_length",
            "contradicts datacollator.pack_sequences: full micro-batches need no grouping",
        )
    if dataset.num_workers == 0:
        for key in ("prefetch_factor", "persistent_workers"):
            if getattr(dataset, key):
                yield f"dataset.{key}", "contradicts dataset.num_workers = 0: without workers it does nothing"
    for key, needed in _ONLY_WITH.items():
        if getattr(recipe.trainer, key) is not None and not getattr(recipe.trainer, needed):
            yield f"trainer.{key}", f"has no effect: trainer.{needed} is false; set that too, or leave this out"
    yield from _role_checks(recipe)
    for name in recipe.trainer.allow_changes:
        if name.partition(".")[0] not in TABLES:
            yield (
                "trainer.allow_changes",
                f"{toml_text(name)} is no key; expected these tables or keys in them: {', '.join(TABLES)}",
            )


def _role_checks(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Columns, prefixes and other keys that do not go with the datacollator's roles, or with its having none."""
    dataset, roles = recipe.dataset, roles_of(recipe.datacollator.options)
    if callable(getattr(dataset.options, "mixture", None)):
        return  # each source has its own
    with_roles = [
        plugin.name
        for plugin in default_registry().plugins
        if plugin.kind == "datacollator" and roles_of(plugin.options_class) is not None and plugin.problem() is None
    ]
    for key, why in selection_faults(dataset.columns, dataset.prefixes, dataset.text_column, roles, with_roles):
        yield f"dataset.{key}", why


def _objections(part: Part, recipe: Recipe) -> list[str]:
    check: Any = getattr(part.options, "check", None)
    if check is None:
        return []
    try:
        return list(check(recipe))
    except UserError as error:
        return [str(error)]
    except Exception as error:
        owner = f"{part.kind} {part.name!r} (from {part.distribution or 'no distribution'})"
        return [f"the check of {owner} failed: {type(error).__name__}: {error}"]


def _located(message: str, path: Key, flat: dict[str, Any]) -> tuple[str, str]:
    """The key that a check's message begins with, dotted or the part's own; else the message is the part's."""
    own = dotted(path)
    message = message.removeprefix(f"{own}: ")
    first = _FIRST_WORD.match(message)
    for candidate in (first.group(), f"{own}.{first.group()}") if first else ():
        if candidate in flat:
            return candidate, message.removeprefix(f"{first.group() if first else ''}: ")
    return f"{own}.name", message
