"""Combinations that cannot work, found before any data or model is touched."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from neobert.errors import Problem, UserError
from neobert.recipe.nodes import Key, dotted
from neobert.recipe.objectives import full_key, objective_problems
from neobert.recipe.overrides import TABLES
from neobert.recipe.sharding import sharding_checks
from neobert.roles import roles_of, selection_faults
from neobert.toml_text import toml_text
from neobert.warmup import batch_size_warmup, length_warmup
from neobert.wording import listed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from neobert.parts import Part
    from neobert.recipe.trainer import TrainerOptions
    from neobert.recipe.tree import Recipe
    from neobert.registry import Registry

_ONLY_WITH = {
    "torch_compile_backend": "torch_compile",
    "torch_compile_dynamic": "torch_compile",
    "gradient_checkpointing_every": "gradient_checkpointing",
    "batch_size_warmup_start": "batch_size_warmup_steps",
    "length_warmup_start": "length_warmup_steps",
    "best_is": "metric_for_best",
}
"""Keys of ``[trainer]`` that do nothing, unless another is true or set."""
_FIRST_WORD = re.compile(r"[\w.]*\w")


def combination_problems(recipe: Recipe, registry: Registry) -> list[Problem]:
    """What the core and each part's own ``check`` object to. ``registry`` is asked for names that would do instead.

    Of several objectives each is checked as if it were the only one, and told by the keys that it stands under.
    """
    of_all = (*objective_problems(recipe), *_bucket_checks(recipe), *_candidate_checks(recipe))
    found = [_problem(recipe, "", key, message) for key, message in of_all]
    for name, view in recipe.views.items():
        found += _problems_of(view, name, registry)
    return list(dict.fromkeys(found))


def _problem(recipe: Recipe, objective: str, key: str, message: str) -> Problem:
    flat, origins = recipe.flat(), recipe.origins
    value = flat.get(key)
    where = origins[key if key in flat else next(leaf for leaf in flat if leaf.startswith(f"{key}."))]
    return Problem(where, full_key(objective, key), None if value is None else toml_text(value), message)


def _problems_of(recipe: Recipe, objective: str, registry: Registry) -> list[Problem]:
    flat = recipe.flat()
    core = [*_core_checks(recipe), *_field_checks(recipe, registry), *_role_checks(recipe, registry)]
    core += sharding_checks(recipe, registry)
    found = [_problem(recipe, objective, key, message) for key, message in core]
    for path, part in recipe.parts():
        for message in _objections(part, recipe):
            key, text = _located(message, path, flat)
            found.append(_problem(recipe, objective, key, text))
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
        value = getattr(recipe.trainer, needed)
        if getattr(recipe.trainer, key) is not None and not value:
            how = "unset" if value is None else "false"
            yield f"trainer.{key}", f"has no effect: trainer.{needed} is {how}; set that too, or leave this out"
    yield from _warmup_checks(recipe)
    yield from _guard_checks(recipe.trainer)
    for name in recipe.trainer.allow_changes:
        if name.partition(".")[0] not in TABLES:
            yield (
                "trainer.allow_changes",
                f"{toml_text(name)} is no key; expected these tables or keys in them: {', '.join(TABLES)}",
            )


def _warmup_checks(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Warm-ups that begin where they end, or beyond."""
    trainer = recipe.trainer
    found = {
        ("batch_size_warmup", "trainer.gradient_accumulation_steps"): batch_size_warmup(trainer),
        ("length_warmup", "dataset.max_seq_length"): length_warmup(trainer, recipe.dataset.max_seq_length),
    }
    for (name, end), warmup in found.items():
        if warmup is None or warmup.start < warmup.full:
            continue
        start = f"trainer.{name}_start"
        said = getattr(trainer, f"{name}_start") is not None
        begins = "" if said else f"it starts at {warmup.start} unless {start} is set; "
        yield (
            start if said else f"trainer.{name}_steps",
            f"nothing grows: {begins}{end}, where it ends, is {warmup.full}; start under that, or raise it",
        )


def _bucket_checks(recipe: Recipe) -> Iterator[tuple[str, str]]:
    longest = max(view.dataset.max_seq_length for view in recipe.views.values())
    for edge in recipe.trainer.eval_position_buckets:
        if edge > longest:
            yield (
                "trainer.eval_position_buckets",
                f"{edge} is over dataset.max_seq_length = {longest}: no token stands there",
            )


def _candidate_checks(recipe: Recipe) -> Iterator[tuple[str, str]]:
    collators = [view.datacollator for view in recipe.views.values()]
    roles = [roles_of(collator.options) for collator in collators]
    ranked = any(own is not None and {"query", "positive"} <= set(own.required) for own in roles)
    if recipe.trainer.eval_train_candidates is not None and not ranked:
        names = " and ".join(toml_text(collator.name) for collator in collators)
        yield (
            "trainer.eval_train_candidates",
            f"has no effect: it is of queries and positives, and datacollator {names} has no such roles; leave it out",
        )


def _guard_checks(trainer: TrainerOptions) -> Iterator[tuple[str, str]]:
    guard = trainer.guard
    if guard.window is not None and guard.threshold is None:
        yield (
            "trainer.guard.window",
            "has no effect: trainer.guard.threshold is unset; set that too, or leave this out",
        )
    if guard.limit is not None and guard.action == "stop":
        yield "trainer.guard.limit", 'has no effect: trainer.guard.action is "stop", which goes past no bad step'
    if guard.action == "rollback" and trainer.save_steps is None:
        yield (
            "trainer.guard.action",
            'goes back to checkpoints of trainer.save_steps, which is unset: set that, or let the action be "skip"',
        )


def _field_checks(recipe: Recipe, registry: Registry) -> Iterator[tuple[str, str]]:
    """Where both the loss and the collator say which fields of a batch they need and give."""
    loss, collator = recipe.loss, recipe.datacollator
    needs = getattr(loss.options, "needs_fields", ())
    given = getattr(collator.options, "batch_fields", None)
    if given is None or set(needs) <= set(given):
        return
    able = [
        plugin.name
        for plugin in registry.plugins
        if plugin.kind == "datacollator"
        and plugin.problem() is None
        and set(needs) <= set(getattr(plugin.options_class, "batch_fields", ()))
    ]
    named = f"datacollators whose batches have them: {', '.join(able)}" if able else "no datacollator here gives them"
    yield (
        "datacollator.name",
        f"loss {toml_text(loss.name)} needs {listed(needs)} in a batch, and this one gives {listed(given)}\n{named}",
    )


def _role_checks(recipe: Recipe, registry: Registry) -> Iterator[tuple[str, str]]:
    """Columns, prefixes and other keys that do not go with the datacollator's roles, or with its having none."""
    dataset, roles = recipe.dataset, roles_of(recipe.datacollator.options)
    if roles is not None and recipe.trainer.length_warmup_steps is not None:
        yield (
            "trainer.length_warmup_steps",
            "cuts sequences into several, and the texts of an example stay whole: leave it out (a first recipe with a "
            "smaller dataset.max_seq_length trains on shorter texts)",
        )
    if callable(getattr(dataset.options, "mixture", None)):
        return  # each source has its own
    with_roles = [
        plugin.name
        for plugin in registry.plugins
        if plugin.kind == "datacollator" and roles_of(plugin.options_class) is not None and plugin.problem() is None
    ]
    for key, why in selection_faults(
        dataset.role_columns, dataset.role_prefixes, dataset.text_column, roles, with_roles
    ):
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
    """The key that a check's message begins with, dotted or the part's own; else the message is the part's.

    It may be a table inside a table, such as ``select.web``.
    """
    own = dotted(path)
    message = message.removeprefix(f"{own}: ")
    first = _FIRST_WORD.match(message)
    word = first.group() if first else ""
    for candidate in (word, f"{own}.{word}"):
        inner = "." in word and any(leaf.startswith(f"{candidate}.") for leaf in flat)
        if candidate in flat or inner:
            return candidate, message.removeprefix(f"{word}: ")
    return f"{own}.name", message
