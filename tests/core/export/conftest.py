"""A small sentence encoder, as a run has it when it saves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from attrs import evolve, frozen

from neobert.context import BuildContext
from neobert.recipe import Recipe, load_recipe
from neobert.testing.context import text_context
from neobert_plugins.losses.comparing_options import InfoNCE


@frozen(eq=False)
class Trained:
    """What `export_model` is given."""

    encoder: Any
    loss: Any
    recipe: Recipe
    context: BuildContext


@pytest.fixture
def make(workdir: Path) -> Callable[..., Trained]:
    """``make("--model.ngpt=true", pooling="max")``: overrides of the recipe, and keys of the loss."""

    def built(*overrides: str, **keys: Any) -> Trained:
        recipe = load_recipe(Path("recipe.toml"), overrides)
        torch.manual_seed(0)
        context = text_context(max_seq_length=recipe.dataset.max_seq_length)
        encoder = recipe.model.build(context)
        with torch.no_grad():
            for parameter in encoder.parameters():  # far from an initialisation that hides mistakes
                parameter.add_(torch.randn_like(parameter) * 0.1)
        context = evolve(context, encoder=encoder)
        loss = InfoNCE(**keys).build(context)
        return Trained(encoder, loss, recipe, context)

    return built
