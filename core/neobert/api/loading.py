"""`neobert.load`: what a run has left, opened."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import torch
from attrs import evolve, frozen

from neobert.api.encoder import TextEncoder
from neobert.contrast.options import Pooling
from neobert.errors import UserError
from neobert.evaluation.opening import open_stream
from neobert.interfaces import SentenceHead
from neobert.libraries import import_libraries
from neobert.wording import did_you_mean

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

logger = logging.getLogger("neobert")


@frozen(eq=False, kw_only=True)
class LoadedModel:
    """What `load` returns."""

    encoder: TextEncoder
    tokenizer: PreTrainedTokenizerFast
    description: str
    """What it is and how it was opened, in a line."""


def load(
    folder: str | os.PathLike[str],
    *,
    pooling: Pooling | None = None,
    averaged: bool = False,
    device: torch.device | str | None = None,
) -> LoadedModel:
    """The model in ``folder``: a run (its newest intact checkpoint), a checkpoint, an export, another model's folder.

    ``pooling`` overrules how token vectors become one; a model that was trained without (by masked tokens alone) takes
    their mean unless told, and a warning of the logger ``neobert`` says so. ``averaged``: a checkpoint's averaged
    weights (``trainer.ema``). ``device``: the first CUDA device where there is one, else the CPU.

    Raises UserError where nothing can be opened: for a damaged checkpoint, a recipe whose plugins are not here, and so
    on, with the reason.
    """
    import_libraries()
    if pooling is not None and pooling not in get_args(Pooling):
        known = get_args(Pooling)
        msg = f"pooling = {pooling!r}{did_you_mean(pooling, known)}\nexpected one of: {', '.join(known)}"
        raise UserError(msg)
    model = open_stream(Path(folder), _device(device), averaged=averaged)
    if pooling is not None:
        head = SentenceHead(pooling=pooling, normalize=model.head.normalize, projection=model.head.projection)
        model = evolve(model, head=head, own=None if pooling != model.head.pooling else model.own)
    elif not model.says_head:
        logger.warning("%s; pooling= chooses another", model.description)
    return LoadedModel(encoder=TextEncoder(model=model), tokenizer=model.tokenizer, description=model.description)


def _device(said: Any) -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu") if said is None else torch.device(said)
