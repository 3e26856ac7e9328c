"""Weights that hold several matrices in one: taken apart, and put together again.

An encoder says which they are (`neobert.FusedMatrix`). Rows are (groups, parts, rows of a part).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from neobert.errors import NotBuiltError, UserError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor, nn

    from neobert import BuildContext, FusedMatrix


def fused_parameters(context: BuildContext) -> dict[Tensor, FusedMatrix]:
    """What the encoder says of its parameters; nothing of an encoder that says nothing.

    Raises `UserError` where it says what cannot be.
    """
    try:
        encoder: Any = context.encoder
    except NotBuiltError:  # parameters without an encoder: an optimizer that is built by hand
        return {}
    stated: Mapping[str, FusedMatrix] = getattr(encoder, "fused_matrices", {})
    parameters = dict(encoder.named_parameters(remove_duplicate=False)) if stated else {}
    for name, fused in stated.items():
        _refuse_what_cannot_be(name, parameters.get(name), fused)
    return {parameters[name]: fused for name, fused in stated.items()}


def split(matrix: Tensor, fused: FusedMatrix | None) -> list[Tensor]:
    """(rows, columns) -> (groups * rows of a part, columns) of each part; without ``fused`` the matrix itself.

    A part is a view where its rows lie together, else a copy.
    """
    if fused is None:
        return [matrix]
    return [part.flatten(0, 1) for part in by_part(matrix, fused).unbind(1)]


def join(parts: Sequence[Tensor], fused: FusedMatrix | None) -> Tensor:
    """The way back from `split`: (rows, columns)."""
    if fused is None:
        return parts[0]
    return torch.stack([torch.unflatten(part, 0, (fused.groups, -1)) for part in parts], dim=1).flatten(0, 2)


def by_part(weight: Tensor, fused: FusedMatrix) -> Tensor:
    """(rows, ...) -> a view (groups, parts, rows of a part, ...)."""
    return torch.unflatten(weight, 0, (fused.groups, len(fused.parts), -1))


def _refuse_what_cannot_be(name: str, parameter: nn.Parameter | None, fused: FusedMatrix) -> None:
    pieces = fused.groups * len(fused.parts)
    if parameter is None:
        fault = "is no parameter of it"
    elif parameter.ndim == 0 or parameter.shape[0] % pieces:
        fault = f"has the shape {tuple(parameter.shape)}: its rows cannot be {pieces} equal pieces"
    else:
        return
    msg = f"the model's fused_matrices names {name!r}, which {fault}: a fault of the model's plugin, not of the recipe"
    raise UserError(msg)
