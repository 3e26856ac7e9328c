"""Where a native transformers architecture keeps its weights, asked of the architecture itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


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


def has_head_bias(config: Mapping[str, Any]) -> bool:
    """Whether the architecture's output layer adds a bias."""
    return _skeleton(config).get_output_embeddings().bias is not None


def body_architecture(config: Mapping[str, Any]) -> str:
    """The class of the architecture without any head."""
    from transformers import AutoConfig, AutoModel

    with torch.device("meta"):
        return type(AutoModel.from_config(AutoConfig.for_model(**config))).__name__


def _native_prefixes(config: Mapping[str, Any]) -> tuple[str, str]:
    model = _skeleton(config)
    output = model.get_output_embeddings()
    (name,) = [name for name, module in model.named_modules() if module is output]
    return f"{model.base_model_prefix}.", f"{name}."


def _skeleton(config: Mapping[str, Any]) -> Any:
    """The architecture without any weights."""
    from transformers import AutoConfig, AutoModelForMaskedLM

    with torch.device("meta"):
        return AutoModelForMaskedLM.from_config(AutoConfig.for_model(**config))
