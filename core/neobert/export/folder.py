"""One export: weights, configuration, tokenizer, recipe; written whole, with a manifest, or not at all."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors.torch import save_file

from neobert.context import BuildContext
from neobert.export.compare import compare_outputs, reference_encoder
from neobert.export.native import is_native, place_tensors
from neobert.files import new_directory
from neobert.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Iterator

WEIGHTS_FILE = "model.safetensors"


def export_model(folder: Path, encoder: Any, loss: Any, recipe: Recipe, context: BuildContext) -> tuple[str, ...]:
    """Writes ``folder`` so that stock libraries open it; returns what there is to say about it.

    What a native architecture expresses is loaded back and compared under the recipe's reference backend.
    Raises RuntimeError when it does not compute the same; nothing is left under the name then.
    """
    notes = list(_backend_notes(recipe))
    has_head = hasattr(loss, "logits") and hasattr(loss, "head_state")
    if not has_head:
        notes.append(f"loss {recipe.loss.name!r} has no vocabulary head: the encoder alone is exported")
    config, tensors = _export_of(encoder, recipe, notes)
    config = {**config, **_token_ids(context.tokenizer)}
    head = loss.head_state() if has_head else None
    with new_directory(folder) as directory:
        _write(directory, config, place_tensors(config, tensors, head), recipe, context)
        if is_native(config):
            reference = reference_encoder(encoder, recipe, context)
            with _quiet_transformers():
                compare_outputs(directory, reference, loss if has_head else None, context)
    return tuple(notes)


def _export_of(encoder: Any, recipe: Recipe, notes: list[str]) -> tuple[dict[str, Any], Mapping[str, Any]]:
    if not hasattr(encoder, "export"):
        notes.append(f"model {recipe.model.name!r} maps to no other library: its own tensors are exported as they are")
        return {"model_type": f"neobert-{recipe.model.name}"}, encoder.state_dict()
    config, tensors = encoder.export()
    if not is_native(config):
        reasons = ", ".join(getattr(encoder, "native_obstacles", ())) or "its mathematics has none"
        notes.append(f"no native transformers architecture expresses this model ({reasons}): exported as {config['model_type']}")
    return config, tensors


def _backend_notes(recipe: Recipe) -> Iterator[str]:
    for _, part in recipe.parts():
        capabilities = getattr(part.options, "capabilities", None)
        if part.kind == "attn_backend" and capabilities is not None and not capabilities.exact:
            yield (
                f"attention backend {part.name!r} is not plain softmax attention: the exported model, which is, "
                "computes other outputs than the trained one"
            )


def _token_ids(tokenizer: Any) -> dict[str, int | None]:
    return {
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.cls_token_id,
        "eos_token_id": tokenizer.sep_token_id,
        "mask_token_id": tokenizer.mask_token_id,
    }


def _write(
    directory: Path, config: Mapping[str, Any], tensors: Mapping[str, Any], recipe: Recipe, context: BuildContext
) -> None:
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    save_file(plain, directory / WEIGHTS_FILE, metadata={"format": "pt"})
    (directory / "config.json").write_text(json.dumps(dict(config), indent=2, sort_keys=True) + "\n", encoding="utf-8")
    tokenizer = context.tokenizer
    tokenizer.save_pretrained(directory)
    info = {
        "tokenizer": recipe.tokenizer.name,
        "num_tokens": len(tokenizer),
        "vocab_size": context.vocab_size,
        "special_tokens": {key: str(value) for key, value in tokenizer.special_tokens_map.items()},
        "max_seq_length": context.max_seq_length,
    }
    (directory / "tokenizer_info.json").write_text(json.dumps(info, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    (directory / "recipe.toml").write_text(recipe.to_toml(), encoding="utf-8")


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Its loading report and progress bar are about files that were just written."""
    from transformers.utils import logging as transformers_logging

    level = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity(logging.ERROR)
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()
