"""Loads an export back with the library that will load it, and compares outputs with the encoder's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from attrs import evolve, fields
from torch import Tensor

from neobert.batch import SequenceLayout
from neobert.context import BuildContext
from neobert.parts import Part, part_kind
from neobert.recipe import Recipe
from neobert.seeding import derive_seed

TOLERANCE = 1e-4
"""Largest difference, relative to the largest output: fp32 rounding stays two orders below it."""
LONGEST = 2048
"""Tokens of the longest sequence that is compared: the reference's attention takes the square of it."""


def reference_encoder(encoder: Any, recipe: Recipe, context: BuildContext, backend: Part | None = None) -> Any:
    """The same weights in a fresh encoder whose attention is ``backend`` (unset: the recipe's reference), in fp32."""
    backend = backend or recipe.trainer.export_attn_backend
    options = recipe.model.options
    swapped = {
        field.alias: _each_replaced(getattr(options, field.name), backend)
        for field in fields(type(options))
        if part_kind(field) == "attn_backend"
    }
    fresh = evolve(recipe.model, options=evolve(options, **swapped)).build(context).to(context.device)
    own = fresh.state_dict().keys()
    # What the trained backend has learned itself has no place under another one.
    weights = {name: tensor for name, tensor in encoder.state_dict().items() if name in own}
    fresh.load_state_dict(weights, strict=True)
    return fresh.float().eval()


def _each_replaced(parts: Any, reference: Part) -> Any:
    """The reference in the place of a part, or of each in a tuple or a mapping."""
    if isinstance(parts, Mapping):
        return dict.fromkeys(parts, reference)
    return (reference,) * len(parts) if isinstance(parts, tuple) else reference


def compare_outputs(
    folder: Path, encoder: Any, loss: Any | None, context: BuildContext, *, predicting: bool = False
) -> float:
    """The largest relative difference between the loaded folder's outputs and ours; loud above the tolerance.

    Without a head, hidden states are compared; with one, logits: of tokens, or with ``predicting`` of classes.
    """
    kind = (
        "AutoModel" if loss is None else "AutoModelForSequenceClassification" if predicting else "AutoModelForMaskedLM"
    )
    theirs = _load(folder, kind).to(context.device)
    largest = 0.0
    for ids in samples(encoder, context):
        with torch.no_grad():
            ours = _own_outputs(encoder, loss, ids, predicting=predicting)
            output = theirs(input_ids=ids[None], attention_mask=torch.ones_like(ids)[None])
        other: Tensor = (output.last_hidden_state if loss is None else output.logits)[0]
        largest = max(largest, float((ours - other).abs().max() / ours.abs().max().clamp(min=1e-6)))
    if not largest <= TOLERANCE:
        msg = f"the export does not compute what the encoder does: outputs differ by {largest:.2e} of their size"
        raise RuntimeError(msg)
    return largest


def _own_outputs(encoder: Any, loss: Any | None, ids: Tensor, *, predicting: bool) -> Tensor:
    layout = SequenceLayout.from_lengths([len(ids)], ids.device)
    if predicting and loss is not None:
        classes: Tensor = loss.predict(encoder, ids, layout)[0]
        return classes
    hidden: Tensor = encoder(ids, layout)
    return hidden if loss is None else loss.logits(encoder, hidden)


def _load(folder: Path, kind: str) -> Any:
    import transformers

    model, info = getattr(transformers, kind).from_pretrained(
        folder, output_loading_info=True, local_files_only=True, dtype=torch.float32
    )
    wrong = {name: sorted(keys) for name, keys in info.items() if keys}
    if wrong:
        msg = f"transformers does not take every tensor of the export as it is: {wrong}"
        raise RuntimeError(msg)
    return model.eval()


def samples(encoder: Any, context: BuildContext) -> list[Tensor]:
    """A long and a short sequence of ordinary token ids, and those of the lengths that an encoder names itself."""
    rng = np.random.default_rng(derive_seed(context.seed, "export"))
    telling = (min(length, LONGEST) for length in getattr(encoder, "telling_lengths", ()))
    return [
        torch.from_numpy(rng.integers(0, len(context.tokenizer), size=length)).to(context.device)
        for length in dict.fromkeys((min(context.max_seq_length, 64), 3, *telling))
    ]
