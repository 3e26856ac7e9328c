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

    A native architecture says itself where its body and its output layer are. Any other is written as published
    NeoBERT checkpoints are: body under ``model.``, head under ``decoder.``. Without a head, the body stands alone.
    """
    if head is None:
        return dict(encoder)
    body_prefix, head_prefix = _native_prefixes(config) if is_native(config) else ("model.", "decoder.")
    tensors = {f"{body_prefix}{name}": tensor for name, tensor in encoder.items()}
    if not config.get("tie_word_embeddings"):
        tensors |= {f"{head_prefix}{name}": tensor for name, tensor in head.items()}
    elif "bias" in head:
        tensors[f"{head_prefix}bias"] = head["bias"]
    return tensors


def _native_prefixes(config: Mapping[str, Any]) -> tuple[str, str]:
    from transformers import AutoConfig, AutoModelForMaskedLM

    with torch.device("meta"):
        model = AutoModelForMaskedLM.from_config(AutoConfig.for_model(**config))
    output = model.get_output_embeddings()
    names = [name for name, module in model.named_modules() if module is output]
    return f"{model.base_model_prefix}.", f"{names[0]}."
