"""Where a native transformers architecture keeps its weights, asked of the architecture itself."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from neobert.weights.prediction import head_tensors

if TYPE_CHECKING:
    from neobert.interfaces import PredictionHead

PREDICTION_POOLINGS = {"mean": "mean", "cls": "bos", "late": "late"}
"""Our name of a prediction head's pooling -> transformers'."""


def is_native(config: Mapping[str, Any]) -> bool:
    """Whether stock transformers has this architecture."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    return config.get("model_type") in CONFIG_MAPPING


def place_tensors(
    config: Mapping[str, Any], encoder: Mapping[str, Tensor], head: Mapping[str, Tensor] | None
) -> dict[str, Tensor]:
    """The encoder's tensors and the head's, under the names of a whole model.

    A native architecture says itself where its body and its output layer are, and holds a tied weight once. Any other
    is written as published NeoBERT checkpoints are: body under ``model.``, the whole head under ``decoder.``. Without a
    head, the body stands alone.
    """
    if head is None:
        return dict(encoder)
    native = is_native(config)
    body_prefix, head_prefix = _native_prefixes(config) if native else ("model.", "decoder.")
    once = native and config["tie_word_embeddings"]
    kept = {name: tensor for name, tensor in head.items() if not (once and name == "weight")}
    return {f"{body_prefix}{name}": tensor for name, tensor in encoder.items()} | {
        f"{head_prefix}{name}": tensor for name, tensor in kept.items()
    }


def head_obstacle(config: Mapping[str, Any], head: Mapping[str, Tensor]) -> str | None:
    """What of a linear head the architecture's own has no place for; None where it has one for all of it."""
    model = _skeleton(config)
    output = model.get_output_embeddings()
    known = {id(parameter) for module in (model.base_model, output) for parameter in module.parameters()}
    if any(id(parameter) not in known for parameter in model.parameters()):
        return "a head that is one linear layer"
    if "bias" in head and output.bias is None:
        return "a bias in the head"
    return None


def prediction_obstacle(config: Mapping[str, Any], pooling: str) -> str | None:
    """What of a prediction head transformers' own of this architecture has no place for; None where it has one for all
    of it: one linear layer with a GELU, and one more, of what is pooled so."""
    from transformers.models.eurobert.modeling_eurobert import EuroBertForSequenceClassification

    model = _skeleton(config, "AutoModelForSequenceClassification")
    if not isinstance(model, EuroBertForSequenceClassification):
        return "a head of two layers behind a pooling"
    return None if pooling in PREDICTION_POOLINGS else f"a head that pools by {pooling!r}"


def place_prediction(
    config: Mapping[str, Any], encoder: Mapping[str, Tensor], head: PredictionHead
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The configuration and the tensors of a whole model with this head."""
    model = _skeleton(config, "AutoModelForSequenceClassification")
    tensors = {f"{model.base_model_prefix}.{name}": tensor for name, tensor in encoder.items()}
    said = {
        "architectures": [type(model).__name__],
        "classifier_pooling": PREDICTION_POOLINGS[head.pooling],
        "tie_word_embeddings": False,  # there is no head to tie
    }
    return {**config, **said, **label_keys(head.labels)}, tensors | head_tensors(head)


def label_keys(labels: Sequence[str]) -> dict[str, Any]:
    """What a configuration says of classes, or of one number where there are none."""
    names = labels or ("score",)
    return {
        "id2label": {str(number): name for number, name in enumerate(names)},
        "label2id": {name: number for number, name in enumerate(names)},
        "problem_type": "single_label_classification" if labels else "regression",
    }


def encoder_class(config: Mapping[str, Any]) -> str:
    """The architecture's class for an encoder without a head, as ``architectures`` names it."""
    from transformers import MODEL_MAPPING, AutoConfig

    found = MODEL_MAPPING[type(AutoConfig.for_model(**copy.deepcopy(dict(config))))]
    return str((found[0] if isinstance(found, tuple) else found).__name__)


def _native_prefixes(config: Mapping[str, Any]) -> tuple[str, str]:
    model = _skeleton(config)
    output = model.get_output_embeddings()
    (name,) = [name for name, module in model.named_modules() if module is output]
    return f"{model.base_model_prefix}.", f"{name}."


def _skeleton(config: Mapping[str, Any], kind: str = "AutoModelForMaskedLM") -> Any:
    """The architecture without any weights."""
    import transformers
    from transformers import AutoConfig

    with torch.device("meta"):
        # A copy, for a configuration writes into the tables that it is given.
        return getattr(transformers, kind).from_config(AutoConfig.for_model(**copy.deepcopy(dict(config))))
