"""A model that guesses masked tokens, out of whatever folder holds one.

Shapes: T tokens in the stream, N sequences, M positions that are guessed, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from attrs import frozen
from torch import Tensor

from neobert.abilities import has_head, loss_with_head
from neobert.batch import SequenceLayout
from neobert.errors import UserError
from neobert.evaluation.folders import labels_beside, locate
from neobert.evaluation.opening import runnable
from neobert.evaluation.padding import padded_groups
from neobert.evaluation.strangers import longest_of, with_head
from neobert.recipe import load_recipe
from neobert.training.checkpoints import RECIPE_FILE
from neobert.training.trained import build_from, load_trained

Guess = Callable[[Tensor, SequenceLayout, Tensor], Tensor]
"""input_ids (T,), layout, positions in the stream (M,) -> logits (M, V)."""
NO_HEAD = "it is an encoder without a head over the vocabulary, so it guesses no token"


@frozen(eq=False, kw_only=True)
class MaskedModel:
    """Guesses tokens from those around them."""

    description: str
    tokenizer: Any
    """Has a mask token."""
    guess: Guess
    max_seq_length: int
    """Tokens of a sequence, its special ones included."""
    device: torch.device

    def logits(self, input_ids: Tensor, layout: SequenceLayout, positions: Tensor) -> Tensor:
        """input_ids (T,), positions (M,) -> (M, V) float32, without a gradient; all on the host or the device."""
        with torch.no_grad():
            found = self.guess(input_ids.to(self.device), layout.to(self.device), positions.to(self.device))
        return found.float()


def open_masked(folder: Path, device: torch.device) -> MaskedModel:
    """Raises UserError where there is no model, or none with a head over the vocabulary and a mask token."""
    located = locate(folder)
    if located.kind == "checkpoint":
        model = _of_checkpoint(located.path, device)
    elif located.kind == "export":
        model = _of_export(folder, device)
    else:
        model = _of_stranger(folder, device)
    if model.tokenizer.mask_token is None:
        msg = f"{folder}: its tokenizer has no mask token, so nothing can be masked"
        raise UserError(msg)
    return model


def _of_checkpoint(checkpoint: Path, device: torch.device) -> MaskedModel:
    trained = load_trained(checkpoint, device=device)
    losses = {name: own.loss for name, own in trained.objectives.items()}
    loss = loss_with_head(losses)
    name = next(name for name, own in losses.items() if own is loss)
    view = trained.recipe.views[name]
    if not has_head(loss):
        msg = f"{checkpoint}: {NO_HEAD} (loss {view.loss.name})"
        raise UserError(msg)
    objective = trained.objectives[name].eval()
    return _of_parts(
        f"{checkpoint}: step {trained.progress.step}, loss {view.loss.name}",
        runnable(objective.encoder, view, trained.context),
        loss,
        trained.context.tokenizer,
        view.dataset.max_seq_length,
        device,
    )


def _of_export(folder: Path, device: torch.device) -> MaskedModel:
    """Built as its recipe says, native or not: our encoder takes streams."""
    from neobert.weights import find_weights, load_weights
    from neobert.weights.files import read_shapes

    recipe = load_recipe(folder / RECIPE_FILE)
    objective, own, context = build_from(recipe, folder, folder, device, labels_beside(folder, recipe))
    losses = {name: one.loss for name, one in own.items()}
    loss = loss_with_head(losses)
    view = recipe.views[next(name for name, one in losses.items() if one is loss)]
    files = read_shapes(find_weights(folder))
    if not has_head(loss) or not _exports_head(files.config, files.tensors):
        msg = f"{folder}: {NO_HEAD} (an export of loss {view.loss.name})"
        raise UserError(msg)
    load_weights(folder, objective.encoder, loss)
    encoder = runnable(objective.encoder, recipe, context).eval()
    said = f"{folder}, opened by its recipe"
    return _of_parts(said, encoder, loss.eval(), context.tokenizer, view.dataset.max_seq_length, device)


def _exports_head(config: Any, tensors: Any) -> bool:
    """A native one is of a class with a head; any other has the head's matrix beside the body."""
    named = any(str(name).endswith("ForMaskedLM") for name in config.get("architectures") or ())
    return named or "decoder.weight" in tensors


def _of_parts(
    description: str, encoder: Any, loss: Any, tokenizer: Any, longest: int, device: torch.device
) -> MaskedModel:
    def guess(input_ids: Tensor, layout: SequenceLayout, positions: Tensor) -> Tensor:
        logits: Tensor = loss.logits(encoder, encoder(input_ids, layout, positions))
        return logits

    return MaskedModel(description=description, tokenizer=tokenizer, guess=guess, max_seq_length=longest, device=device)


def _of_stranger(folder: Path, device: torch.device) -> MaskedModel:
    model, tokenizer = with_head("AutoModelForMaskedLM", folder, device, what="guesses masked tokens", no_head=NO_HEAD)
    return MaskedModel(
        description=f"{folder}, opened by transformers ({type(model).__name__})",
        tokenizer=tokenizer,
        guess=_padded_guess(model),
        max_seq_length=longest_of(tokenizer, model.config),
        device=device,
    )


def _padded_guess(model: Any) -> Guess:
    """Of a transformers model, which has logits of every position: a few sequences at a time."""

    def guess(input_ids: Tensor, layout: SequenceLayout, positions: Tensor) -> Tensor:
        found: list[Tensor] = []
        wanted: list[Tensor] = []
        for group in padded_groups(input_ids, layout, vocabulary=model.config.vocab_size):
            logits = model(input_ids=group.ids, attention_mask=group.mask.long()).logits[group.mask]
            mine = ((positions >= group.first) & (positions < group.first + len(logits))).nonzero()[:, 0]
            found.append(logits[positions[mine] - group.first])
            wanted.append(mine)
        order = torch.cat(wanted).argsort()
        return torch.cat(found)[order]

    return guess
