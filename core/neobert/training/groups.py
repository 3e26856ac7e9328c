"""Sorts parameters into the groups that optimizers treat alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from torch import nn

from neobert.context import ParameterGroup

Role = Literal["matrix", "embedding", "head", "vector"]


def group_parameters(
    encoder: Any, loss: nn.Module | None = None, *, losses: nn.ModuleDict | None = None
) -> tuple[ParameterGroup, ...]:
    """Every trainable parameter of encoder and loss, or of several objectives' losses, each once (tied ones where they
    are met first), under the names that a checkpoint has.

    Role: ``matrix`` for 2-D weights in ``encoder.blocks``, ``embedding`` for those of ``nn.Embedding``, ``head`` for
    2-D weights of the loss, ``vector`` for the rest. Decay is meant for weights of two or more dimensions.
    """
    grouped: dict[tuple[Role, bool], dict[str, nn.Parameter]] = {}
    seen: set[int] = set()
    for name, parameter, role in _with_roles(encoder, {"loss": loss, "losses": losses}):
        if id(parameter) not in seen and parameter.requires_grad:
            seen.add(id(parameter))
            grouped.setdefault((role, parameter.ndim >= 2), {})[name] = parameter
    return tuple(
        ParameterGroup(role=role, decay=decay, parameters=parameters) for (role, decay), parameters in grouped.items()
    )


def _with_roles(encoder: Any, losses: Mapping[str, nn.Module | None]) -> Iterator[tuple[str, nn.Parameter, Role]]:
    embeddings = {id(m.weight) for m in encoder.modules() if isinstance(m, nn.Embedding)}
    in_blocks = {id(parameter) for parameter in encoder.blocks.parameters()}
    for name, parameter in encoder.named_parameters():
        if id(parameter) in embeddings:
            role: Role = "embedding"
        elif id(parameter) in in_blocks and parameter.ndim == 2:
            role = "matrix"
        else:
            role = "vector"
        yield f"encoder.{name}", parameter, role
    for key, loss in losses.items():
        for name, parameter in () if loss is None else loss.named_parameters():
            yield f"{key}.{name}", parameter, "head" if parameter.ndim == 2 else "vector"
