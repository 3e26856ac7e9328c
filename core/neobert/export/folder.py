"""One export: weights, configuration, tokenizer, recipe; written whole, with a manifest, or not at all."""

from __future__ import annotations

import json
import logging
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors.torch import save_file

from neobert.context import BuildContext
from neobert.export.compare import compare_outputs, reference_encoder
from neobert.export.native import is_native
from neobert.export.plan import ExportPlan, plan_export
from neobert.files import new_directory, write_json, write_text
from neobert.modes import evaluation_mode
from neobert.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Iterator

WEIGHTS_FILE = "model.safetensors"


def export_model(folder: Path, encoder: Any, loss: Any, recipe: Recipe, context: BuildContext) -> tuple[str, ...]:
    """Writes ``folder`` so that stock libraries open it; returns what there is to say about it.

    What a native architecture expresses is loaded back and compared under the recipe's reference backend.
    Raises RuntimeError when it does not compute the same; nothing is left under the name then.
    """
    with evaluation_mode(encoder, loss):
        plan = plan_export(encoder, loss, recipe, context.tokenizer)
        with new_directory(folder) as directory:
            _write(directory, plan, recipe, context)
            if plan.native:
                reference = reference_encoder(encoder, recipe, context)
                with _quiet_transformers():
                    compare_outputs(directory, reference, loss if plan.has_head else None, context)
    return plan.notes


def opening_command(folder: Path, sentence: str) -> str | None:
    """A command line that tries an export out; None for a layout that no other library reads.

    ``sentence`` has the tokenizer's mask token in it, for an export with a head.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if not is_native(config):
        return None
    if any(name.endswith("ForMaskedLM") for name in config.get("architectures") or ()):
        work = f"from transformers import pipeline; print(pipeline('fill-mask', '{folder}')('{sentence}'))"
    else:
        work = f"from transformers import AutoModel; print(AutoModel.from_pretrained('{folder}'))"
    return f'python -c "{work}"'


def _write(directory: Path, plan: ExportPlan, recipe: Recipe, context: BuildContext) -> None:
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in plan.tensors.items()}
    save_file(plain, directory / WEIGHTS_FILE, metadata={"format": "pt"})
    write_json(directory / "config.json", plan.config)
    tokenizer = context.tokenizer
    tokenizer.save_pretrained(directory)
    info = {
        "tokenizer": recipe.tokenizer.name,
        "num_tokens": len(tokenizer),
        "vocab_size": context.vocab_size,
        "special_tokens": {key: str(value) for key, value in tokenizer.special_tokens_map.items()},
        "max_seq_length": context.max_seq_length,
    }
    write_json(directory / "tokenizer_info.json", info)
    write_text(directory / "recipe.toml", recipe.to_toml())


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
