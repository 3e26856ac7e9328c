"""The head that says a class or a number of each sequence, as transformers' EuroBERT has it beside an encoder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor

from neobert.abilities import predicts

if TYPE_CHECKING:
    from neobert.interfaces import PredictionHead
    from neobert.weights.placing import Placing

ARCHITECTURE = "ForSequenceClassification"
"""How the names of such classes end."""
NO_PLACE = "without the head ({}), for which this loss has no place"
_LAYERS = ("dense", "classifier")


def head_tensors(head: PredictionHead) -> dict[str, Tensor]:
    """The parameters themselves, by the names that they have in such a file."""
    parts = (("dense", head.dense), ("classifier", head.output))
    return {
        f"{layer}.{name}": tensor
        for layer, pair in parts
        for name, tensor in zip(("weight", "bias"), pair, strict=True)
    }


def split_prediction_head(
    tensors: Mapping[str, Tensor], config: Mapping[str, Any]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """A file's tensors without those of such a head, and the head's; of any other file, all and none."""
    if not any(str(name).endswith(ARCHITECTURE) for name in config.get("architectures") or ()):
        return dict(tensors), {}
    head = {name: tensor for name, tensor in tensors.items() if name.partition(".")[0] in _LAYERS}
    return {name: tensor for name, tensor in tensors.items() if name not in head}, head


def plan_prediction_head(placing: Placing, head: Mapping[str, Tensor], loss: Any) -> list[str]:
    """Fills the loss's head as far as the shapes are the same; what starts afresh, or has no place, is said."""
    if not predicts(loss):
        return [NO_PLACE.format(", ".join(sorted(head)))] if head else []
    wanted = head_tensors(loss.prediction_head())
    fitting = {name for name in head.keys() & wanted.keys() if head[name].shape == wanted[name].shape}
    placing.plan(
        {name: wanted[name] for name in fitting}, {name: head[name] for name in fitting}, vocabulary=frozenset()
    )
    unknown = head.keys() - wanted.keys()
    return [
        *([NO_PLACE.format(", ".join(sorted(unknown)))] if unknown else []),
        *afresh(f"head.{name}" for name in wanted.keys() - fitting),
    ]


def afresh(names: Iterable[str]) -> list[str]:
    """That these parameters are as a run without weights has them, a line each."""
    return [f"{name} starts afresh" for name in sorted(names)]
