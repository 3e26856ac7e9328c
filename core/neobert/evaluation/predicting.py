"""A model that says a class or a number of each text, or of two together, out of whatever folder holds one.

Shapes: N examples, T tokens in the stream, K classes, or 1 for a number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from attrs import frozen
from numpy.typing import NDArray
from torch import Tensor

from neobert.abilities import main_objective, predicts
from neobert.batch import SequenceLayout
from neobert.data.pair_form import PairTokens, cut_pairs
from neobert.data.sequences import SpecialTokens, body_length
from neobert.embedding.texts import embed_sequences
from neobert.errors import UserError
from neobert.evaluation.folders import locate
from neobert.evaluation.opening import runnable
from neobert.evaluation.padding import padded
from neobert.evaluation.strangers import longest_of, with_head
from neobert.training.trained import load_trained

Texts = tuple[str, ...]
"""One text, or two that are joined."""
NO_HEAD = "it has no head that says a class or a number of a text"


@frozen(eq=False, kw_only=True)
class PredictingModel:
    """Says a class, or a number."""

    description: str
    tokenizer: Any
    compute: Callable[[Tensor, SequenceLayout], Tensor]
    """input_ids (T,), layout -> (N, K)."""
    labels: tuple[str, ...]
    """What the classes are called; empty where it says a number."""
    prefixes: tuple[str, ...]
    """What was put before the texts in training, of one text or of the first and the second."""
    max_seq_length: int
    """Tokens of a sequence, its special ones included; what is longer is cut as in training."""
    device: torch.device

    def predict(self, examples: Sequence[Texts]) -> Tensor:
        """(N, K) float32 on the host: logits of classes, or a number."""
        return self.predict_counting(examples)[0]

    def predict_counting(self, examples: Sequence[Texts]) -> tuple[Tensor, int]:
        """The same, and of how many examples less than all is seen."""
        encoded = [self._encoded(number, column) for number, column in enumerate(zip(*examples, strict=True))]
        with torch.no_grad():
            found = embed_sequences(self.compute, self._sequences(encoded), self.device)
        lengths = np.sum([self._lengths(column) for column in encoded], axis=0)
        return found.cpu(), int((lengths > self._room(len(encoded))).sum())

    def _encoded(self, number: int, texts: Sequence[str]) -> list[list[int]]:
        prefix = self.prefixes[number] if number < len(self.prefixes) else ""
        with_prefix = [prefix + text for text in texts]
        found: list[list[int]] = self.tokenizer(with_prefix, add_special_tokens=False, verbose=False)["input_ids"]
        return found

    def _room(self, texts: int) -> int:
        if texts == 1:
            return body_length(self.max_seq_length, SpecialTokens.of(self.tokenizer))
        return self.max_seq_length - PairTokens.of(self.tokenizer).count

    def _sequences(self, encoded: list[list[list[int]]]) -> list[NDArray[np.int64]]:
        room = self._room(len(encoded))
        if len(encoded) == 1:
            special = SpecialTokens.of(self.tokenizer)
            return [special.around(np.asarray(ids[:room], dtype=np.int64)) for ids in encoded[0]]
        pair = PairTokens.of(self.tokenizer)
        one, other = map(self._lengths, encoded)
        kept = zip(*cut_pairs(one, other, room), strict=True)
        return [
            pair.around(np.asarray(first[:a], dtype=np.int64), np.asarray(second[:b], dtype=np.int64))
            for first, second, (a, b) in zip(*encoded, kept, strict=True)
        ]

    @staticmethod
    def _lengths(encoded: Sequence[Sequence[int]]) -> NDArray[np.int64]:
        return np.fromiter(map(len, encoded), dtype=np.int64, count=len(encoded))


def open_predicting(folder: Path, device: torch.device) -> PredictingModel:
    """Raises UserError where there is no model, or none with such a head."""
    located = locate(folder)
    if located.kind == "checkpoint":
        return _of_checkpoint(located.path, device)
    if located.kind == "export" and not located.native:
        msg = f"{folder}: {NO_HEAD}: an export of this layout is the encoder alone; name the run or its checkpoint"
        raise UserError(msg)
    return _of_transformers(folder, device)


def _of_checkpoint(checkpoint: Path, device: torch.device) -> PredictingModel:
    trained = load_trained(checkpoint, device=device)
    losses = {name: own.loss for name, own in trained.objectives.items()}
    name = next((name for name, loss in losses.items() if predicts(loss)), main_objective(losses))
    loss, view = losses[name], trained.recipe.views[name]
    if not predicts(loss):
        msg = f"{checkpoint}: {NO_HEAD} (loss {view.loss.name})"
        raise UserError(msg)
    encoder = runnable(trained.objectives[name].eval().encoder, view, trained.context)

    def compute(input_ids: Tensor, layout: SequenceLayout) -> Tensor:
        predictions: Tensor = loss.predict(encoder, input_ids, layout)
        return predictions

    return PredictingModel(
        description=f"{checkpoint}: step {trained.progress.step}, loss {view.loss.name}",
        tokenizer=trained.context.tokenizer,
        compute=compute,
        labels=loss.prediction_head().labels,
        prefixes=_prefixes(view),
        max_seq_length=view.dataset.max_seq_length,
        device=device,
    )


def _of_transformers(folder: Path, device: torch.device) -> PredictingModel:
    """An export of ours, or a stranger's: both are what stock transformers opens."""
    model, tokenizer = with_head(
        "AutoModelForSequenceClassification", folder, device, what="classifies", no_head=NO_HEAD
    )

    def compute(input_ids: Tensor, layout: SequenceLayout) -> Tensor:
        ids, mask = padded(input_ids, layout.lengths)
        logits: Tensor = model(input_ids=ids, attention_mask=mask.long()).logits
        return logits

    names = model.config.id2label
    is_number = model.config.num_labels == 1
    recipe = _recipe_of(folder)
    longest = longest_of(tokenizer, model.config)
    return PredictingModel(
        description=f"{folder}, opened by transformers ({type(model).__name__})",
        tokenizer=tokenizer,
        compute=compute,
        labels=() if is_number else tuple(str(names[number]) for number in sorted(names)),
        prefixes=() if recipe is None else _prefixes(recipe),
        max_seq_length=longest if recipe is None else recipe.dataset.max_seq_length,
        device=device,
    )


def _recipe_of(folder: Path) -> Any | None:
    """That of an export: the view that its head is of."""
    from neobert.recipe import load_recipe
    from neobert.training.checkpoints import RECIPE_FILE

    if not (folder / RECIPE_FILE).is_file():
        return None
    views = load_recipe(folder / RECIPE_FILE).views
    predicting = ("text", "label"), ("text", "score")
    return next(
        (view for view in views.values() if getattr(view.loss.options, "needs_fields", ()) in predicting),
        next(iter(views.values())),
    )


def _prefixes(recipe: Any) -> tuple[str, ...]:
    said = recipe.dataset.role_prefixes
    roles = recipe.datacollator.options.roles
    names = roles.joined or roles.texts
    return tuple(said.get(name, "") for name in names)
