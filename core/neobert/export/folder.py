"""One export: weights, configuration, tokenizer, recipe; written whole, with a manifest, or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import evolve
from safetensors.torch import save_file

from neobert.abilities import loss_with_head, main_objective
from neobert.context import BuildContext
from neobert.export.card import model_card
from neobert.export.compare import compare_outputs, reference_encoder
from neobert.export.compare_embeddings import compare_embeddings
from neobert.export.native import is_native
from neobert.export.onnx_file import add_onnx, require_onnx
from neobert.export.plan import ExportPlan, plan_export
from neobert.export.provenance import FILE as PROVENANCE
from neobert.export.provenance import Origin, provenance
from neobert.export.quiet import quiet_transformers
from neobert.export.sentence_files import MODULES_FILE, write_sentence_files
from neobert.files import new_directory, write_json, write_text
from neobert.modes import evaluation_mode
from neobert.recipe import Recipe
from neobert.weights.prediction import ARCHITECTURE

if TYPE_CHECKING:
    from collections.abc import Mapping

WEIGHTS_FILE = "model.safetensors"


def export_model(
    folder: Path,
    encoder: Any,
    losses: Mapping[str, Any],
    recipe: Recipe,
    context: BuildContext,
    origin: Origin | None = None,
    *,
    onnx: bool = False,
) -> tuple[str, ...]:
    """Writes ``folder`` so that stock libraries open it; returns what there is to say about it.

    ``losses``: each objective's by its name, ``""`` where there is one.

    What a native architecture expresses is loaded back and compared under the recipe's reference backend, embeddings
    with sentence-transformers where it is installed. Raises RuntimeError when it does not compute the same; nothing is
    left under the name then. ``origin`` says what of the run it is. ``onnx``: an ONNX file lies in the folder too, and
    is compared as well (see `add_onnx`).
    """
    if onnx:
        require_onnx()
    main = main_objective(losses)
    view, loss = recipe.views[main], losses[main]
    context = evolve(context, max_seq_length=view.dataset.max_seq_length)
    with evaluation_mode(encoder, *losses.values()):
        plan = plan_export(encoder, losses, recipe, context.tokenizer)
        notes = list(plan.notes)
        with new_directory(folder) as directory:
            _write(directory, plan, recipe, context, origin)
            if plan.native:
                reference = reference_encoder(encoder, recipe, context)
                with quiet_transformers():
                    if plan.prediction is not None:
                        compare_outputs(directory, reference, loss, context, predicting=True)
                    else:
                        head = loss_with_head(losses) if plan.has_head else None
                        compare_outputs(directory, reference, head, context)
                    if plan.sentence is not None:
                        notes.append(compare_embeddings(directory, reference, loss, plan.prompts, context))
            if onnx:
                notes.append(add_onnx(directory, plan, encoder, losses, recipe, context))
    return tuple(notes)


def opening_command(folder: Path, sentence: str) -> str | None:
    """A command line that tries an export out; None for a layout that no other library reads.

    ``sentence`` has the tokenizer's mask token in it, for an export with a head.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if not is_native(config):
        return None
    if any(name.endswith("ForMaskedLM") for name in config.get("architectures") or ()):
        work = f"from transformers import pipeline; print(pipeline('fill-mask', '{folder}')('{sentence}'))"
    elif any(name.endswith(ARCHITECTURE) for name in config.get("architectures") or ()):
        work = f"from transformers import pipeline; print(pipeline('text-classification', '{folder}')('a text'))"
    elif (folder / MODULES_FILE).is_file():
        texts = "['a text', 'another one']"
        work = (
            "from sentence_transformers import SentenceTransformer; "
            f"model = SentenceTransformer('{folder}'); print(model.similarity(*2 * [model.encode({texts})]))"
        )
    else:
        work = f"from transformers import AutoModel; print(AutoModel.from_pretrained('{folder}'))"
    return f'python -c "{work}"'


def _write(
    directory: Path,
    plan: ExportPlan,
    recipe: Recipe,
    context: BuildContext,
    origin: Origin | None,
) -> None:
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
    write_json(directory / PROVENANCE, provenance(recipe, origin))
    if plan.sentence is not None:
        size = context.encoder.hidden_size
        write_sentence_files(directory, plan.sentence, size, plan.prompts, context.max_seq_length)
        write_text(
            directory / "README.md", model_card(plan, recipe, size, {} if origin is None else origin.evaluations)
        )
