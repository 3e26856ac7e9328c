"""What a recipe's attention backends cannot do on the device of the run, and what those that choose have chosen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from attrs import evolve

from neobert.capabilities import AttentionNeeds, Choice, Target, capabilities_of
from neobert.errors import Problem
from neobert.recipe.nodes import Key, dotted
from neobert.registry import Registry, default_registry
from neobert.toml_text import toml_text

if TYPE_CHECKING:
    from neobert.parts import Part
    from neobert.recipe.trainer import TrainerOptions
    from neobert.recipe.tree import Recipe

KIND = "attn_backend"
_NO_NEEDS = AttentionNeeds()


def compute_dtype(trainer: TrainerOptions) -> str:
    """The dtype that matrix products and attention come in."""
    return "bfloat16" if trainer.mixed_precision == "bf16" else "float32"


def check_device(recipe: Recipe, target: Target, registry: Registry | None = None) -> list[Problem]:
    """What the model's attention backends cannot do there, or for this model, with the names of those that can."""
    found = []
    for path, part in _backends(recipe):
        needs = _needs(recipe, path)
        capabilities = capabilities_of(part.options, target)
        faults = [*capabilities.unfit(target), *capabilities.lacking(needs)]
        chosen = _choice(part, target)
        key = dotted((*path, "name"))
        for fault in faults:
            message = f"{fault if chosen is None else f'chooses {chosen.name!r} here, which {fault}'}\n"
            message += _ways_out(fault, part, target, needs, registry or default_registry())
            found.append(Problem(recipe.origins[key], key, toml_text(part.name), message))
    return found


def attention_choices(recipe: Recipe, target: Target) -> dict[str, str]:
    """Dotted key -> what is chosen there and why, for each backend that only chooses."""
    choices = {dotted(path): _choice(part, target) for path, part in _backends(recipe)}
    return {key: f"{choice.name}: {choice.why}" for key, choice in choices.items() if choice is not None}


def _backends(recipe: Recipe) -> Iterator[tuple[Key, Part]]:
    return ((path, part) for path, part in recipe.parts() if path[0] == "model" and part.kind == KIND)


def _choice(part: Part, target: Target) -> Choice | None:
    choose = getattr(part.options, "choose", None)
    choice: Choice | None = None if choose is None else choose(target)
    return choice


def _needs(recipe: Recipe, path: Key) -> AttentionNeeds:
    """Those of the model, for the backends that are its own; what one inside another needs is its owner's to know."""
    ask = getattr(recipe.model.options, "attention_needs", None)
    inside = any(path[: len(other)] == other for other, _ in _backends(recipe) if other != path)
    needs: AttentionNeeds = _NO_NEEDS if ask is None or inside else ask()
    return needs


def _ways_out(fault: str, part: Part, target: Target, needs: AttentionNeeds, registry: Registry) -> str:
    names = []
    for plugin in registry.plugins:
        if plugin.kind == KIND and plugin.name != part.name and plugin.problem() is None:
            capabilities = capabilities_of(plugin.options_class)
            if not any((*capabilities.unfit(target), *capabilities.lacking(needs))):
                names.append(plugin.name)
    other = f"name one that can do this here: {', '.join(names)}" if names else "no other that is installed can do this"
    in_bf16 = evolve(target, dtype="bfloat16")
    left = capabilities_of(part.options, in_bf16).unfit(in_bf16)
    if target.dtype == "float32" and fault not in (*left, *capabilities_of(part.options, target).lacking(needs)):
        return f'set trainer.mixed_precision = "bf16", or {other}'
    return other
