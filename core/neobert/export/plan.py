"""What an export will hold: which architecture, with which head, and what there is to say about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from attrs import field, frozen
from torch import Tensor
from torch.nn import functional as F

from neobert.abilities import has_head, loss_with_head, main_objective, makes_embeddings, predicts
from neobert.batch import SequenceLayout
from neobert.capabilities import Capabilities
from neobert.embedding.head import apply_head
from neobert.export.native import (
    encoder_class,
    head_obstacle,
    is_native,
    label_keys,
    place_prediction,
    place_tensors,
    prediction_obstacle,
)
from neobert.export.prompts import Prompts, prompts_of
from neobert.export.sentence_files import POOLINGS
from neobert.interfaces import PredictionHead, SentenceHead
from neobert.prediction.head import apply_prediction_head
from neobert.recipe import Recipe

Head = Mapping[str, Tensor]
EXACT = Capabilities()


@frozen(eq=False)
class ExportPlan:
    """A configuration, the tensors under their names in the file, and notes for a person."""

    config: dict[str, Any]
    tensors: dict[str, Tensor]
    has_head: bool
    notes: tuple[str, ...]
    sentence: SentenceHead | None = None
    """What makes embeddings, of a loss that does."""
    prompts: Prompts = field(factory=lambda: Prompts({}))
    prediction: PredictionHead | None = None
    """What makes classes or numbers, of a loss that does, where the file holds it."""
    objective: str = ""
    """The name of the one whose embeddings and prompts these are, where there are several."""

    @property
    def native(self) -> bool:
        """Whether stock transformers loads it, so that outputs can be compared."""
        return is_native(self.config)


def plan_export(encoder: Any, losses: Mapping[str, Any], recipe: Recipe, tokenizer: Any) -> ExportPlan:
    """Chooses the native architecture where it computes the same, else the layout of published NeoBERT checkpoints.

    ``losses`` are those of `Recipe.views`: embeddings are the main objective's, the head is that of the first loss that
    has one.

    A head that is not a plain linear layer is left out, with a note; so is one that is the embedding, where the
    architecture's own head is another, and what makes embeddings where it is not what the loss says it is. No save
    fails for it.
    """
    main, views = main_objective(losses), recipe.views
    loss, with_head = losses[main], loss_with_head(losses)
    sentence, notes = _sentence_head_of(encoder, loss, views[main].loss.name)
    prediction, said = _prediction_head_of(encoder, loss, views[main].loss.name)
    notes += said
    head, others = _head_of(encoder, with_head, views[main].loss.name)
    # Of a loss that makes embeddings or predictions nobody expects guesses.
    notes += others if head is not None or not (hasattr(loss, "sentence_head") or predicts(loss)) else []
    if prediction is not None and head is not None:
        head = None
        notes.append(f"a folder has one head: that of loss {views[main].loss.name!r}; guesses are left out")
    if not hasattr(encoder, "export"):
        notes.append(f"model {recipe.model.name!r} maps to no other library: its own tensors are exported as they are")
        config = _with_token_ids({"model_type": f"neobert-{recipe.model.name}"}, tokenizer)
        tensors: dict[str, Tensor] = dict(encoder.state_dict())
    else:
        config, tensors, head, said = _laid_out(encoder, head, tokenizer)
        notes += said
    if sentence is not None and not is_native(config):
        notes.append("neither transformers nor sentence-transformers opens it; neobert-run --evaluate does")
    if prediction is not None:
        obstacle = prediction_obstacle(config, prediction.pooling) if is_native(config) else "this head"
        if obstacle is not None:
            kind, prediction = config.get("model_type"), None
            notes.append(f"no {kind} has {obstacle}: the encoder alone is exported; checkpoints have the head")
            config = {**config, **label_keys(loss.prediction_head().labels)}
    if prediction is not None:
        config, tensors = place_prediction(config, tensors, prediction)
    elif head is not None:
        config = {**config, "tie_word_embeddings": _is_tied(encoder, head)}
    elif is_native(config):
        config = {**config, "architectures": [encoder_class(config)]}
    notes += _backend_notes(recipe)
    placed = place_tensors(config, tensors, head)
    return ExportPlan(
        config,
        placed,
        head is not None,
        tuple(notes),
        sentence,
        prompts_of(views[main]),
        prediction,
        main,
    )


def _laid_out(
    encoder: Any, head: Head | None, tokenizer: Any
) -> tuple[dict[str, Any], dict[str, Tensor], Head | None, list[str]]:
    """The layout that the encoder chooses, or another where that one has no place for the head; and what to say."""
    notes = []
    config, tensors = encoder.export()
    config = _with_token_ids(config, tokenizer)
    reasons = list(getattr(encoder, "native_obstacles", ()))
    obstacle = head_obstacle(config, head) if head is not None and is_native(config) else None
    if head is not None and obstacle is not None:
        nearest = config["model_type"]
        alone = f"no {nearest} has {obstacle}: the encoder alone is exported"
        if "bias" not in head and _is_tied(encoder, head):
            head = None
            notes.append(f"{alone}; the head is its embedding")
        elif hasattr(encoder, "export_published"):
            config, tensors = encoder.export_published()
            config = _with_token_ids(config, tokenizer)
            reasons.append(f"the nearest, {nearest}, lacks {obstacle}")
        else:
            head = None
            notes.append(alone)
    if not is_native(config):
        because = ", ".join(reasons) or "the model knows none"
        notes.append(
            f"no native architecture of transformers expresses this model ({because}): "
            f"exported in the layout {config.get('model_type')!r}"
        )
    return config, tensors, head, notes


def _with_token_ids(config: Mapping[str, Any], tokenizer: Any) -> dict[str, Any]:
    ids = {
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.cls_token_id,
        "eos_token_id": tokenizer.sep_token_id,
        "mask_token_id": tokenizer.mask_token_id,
    }
    return {**config, **ids}


def _head_of(encoder: Any, loss: Any, name: str) -> tuple[Head | None, list[str]]:
    if not has_head(loss):
        return None, [f"loss {name!r} has no vocabulary head: guesses are left out, and the encoder alone is exported"]
    head: Head = loss.head_state()
    if not _is_linear(encoder, loss, head):
        return None, [f"the logits of loss {name!r} are not those of a linear head: the encoder alone is exported"]
    return head, []


def _is_linear(encoder: Any, loss: Any, head: Head) -> bool:
    """Whether the head's tensors alone give the loss's logits: asked of two hidden states."""
    weight = head["weight"]
    hidden = torch.linspace(-1.0, 1.0, 2 * encoder.hidden_size, dtype=weight.dtype, device=weight.device).view(2, -1)
    logits = loss.logits(encoder, hidden)
    return torch.allclose(logits, F.linear(hidden, weight, head.get("bias")), rtol=1e-4, atol=1e-5)


def _sentence_head_of(encoder: Any, loss: Any, name: str) -> tuple[SentenceHead | None, list[str]]:
    if not makes_embeddings(loss):
        return None, []
    head: SentenceHead = loss.sentence_head()
    if head.pooling not in POOLINGS:
        return None, [f"loss {name!r} pools by {head.pooling!r}, which no other library knows: the encoder is exported"]
    if not _is_said(encoder, loss, head):
        return None, [f"the embeddings of loss {name!r} are not what its sentence_head says: the encoder is exported"]
    return head, []


def _prediction_head_of(encoder: Any, loss: Any, name: str) -> tuple[PredictionHead | None, list[str]]:
    if not predicts(loss):
        return None, []
    head: PredictionHead = loss.prediction_head()
    ids, layout = _two_sequences(encoder)
    own = loss.predict(encoder, ids, layout)
    if torch.allclose(own, apply_prediction_head(encoder(ids, layout), layout, head), rtol=1e-4, atol=1e-5):
        return head, []
    return None, [f"the predictions of loss {name!r} are not what its prediction_head says: the encoder is exported"]


def _two_sequences(encoder: Any) -> tuple[Tensor, SequenceLayout]:
    device = encoder.input_embedding.weight.device
    return torch.arange(8, device=device) % encoder.vocab_size, SequenceLayout.from_lengths((3, 5), device)


def _is_said(encoder: Any, loss: Any, head: SentenceHead) -> bool:
    """Whether `loss.embed` is pooling, projection and normalisation alone: asked of two sequences."""
    ids, layout = _two_sequences(encoder)
    embeddings = loss.embed(encoder, ids, layout)
    return torch.allclose(embeddings, apply_head(encoder(ids, layout), layout, head), rtol=1e-4, atol=1e-5)


def _is_tied(encoder: Any, head: Head) -> bool:
    return bool(head["weight"].data_ptr() == encoder.input_embedding.weight.data_ptr())


def _backend_notes(recipe: Recipe) -> list[str]:
    inexact = [
        part.name
        for path, part in recipe.parts()
        if part.kind == "attn_backend" and path[0] == "model" and not getattr(part.options, "capabilities", EXACT).exact
    ]
    return [
        f"attention backend {name!r} is not plain softmax attention: the exported model, which is, computes other "
        "outputs than the trained one"
        for name in inexact
    ]
