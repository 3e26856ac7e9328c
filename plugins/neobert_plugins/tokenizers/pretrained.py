"""Tokenizers that others made, made safe to train with."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neobert.errors import UserError
from neobert.run_folder import tokenizer_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from neobert_plugins.tokenizers.options import Pretrained

logger = logging.getLogger("neobert.tokenizers")

_REUSED = {
    "mask": ("[MASK]", "<mask>", "<|mask|>"),
    "pad": ("[PAD]", "<pad>", "<|pad|>", "<|padding|>", "<|finetune_right_pad_id|>"),
}
"""Tokens that a vocabulary may have without saying what they are for."""
_ADDED = {"mask": "[MASK]", "pad": "[PAD]"}


def load(options: Pretrained, said: str = "tokenizer.path") -> Any:
    """The tokenizer; ``said`` is the key or flag that names it.

    Raises UserError where it cannot be had, or has no mask or pad token.
    """
    tokenizer = _read(options, said)
    if not getattr(tokenizer, "is_fast", False):
        msg = f"{said} = {options.path!r} is a {type(tokenizer).__name__}, which has no fast version (tokenizer.json)"
        raise UserError(msg)
    missing = [role for role in ("mask", "pad") if getattr(tokenizer, f"{role}_token_id") is None]
    if missing and not options.allow_special_token_rewrite:
        msg = (
            f"{said} = {options.path!r} has no {' and no '.join(missing)} token\n"
            "tokenizer.allow_special_token_rewrite = true gives it one, reusing or adding a token"
        )
        raise UserError(msg)
    for role in missing:
        _give(tokenizer, role)
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    return tokenizer


def _read(options: Pretrained, said: str) -> Any:
    from huggingface_hub.constants import HF_HUB_OFFLINE
    from transformers import AutoTokenizer

    folder = Path(options.path).expanduser()
    local = folder.is_dir()
    if local:
        folder = _within(folder, said)
    no_folder = f"there is no such folder (from {Path.cwd()})"
    if not local and (folder.is_absolute() or options.path.startswith((".", "~")) or options.path.count("/") > 1):
        msg = f"{said} = {options.path!r}: {no_folder}, and it is not a hub name"
        raise UserError(msg)
    try:
        with _without_remarks_on_models():
            return AutoTokenizer.from_pretrained(
                str(folder) if local else options.path,
                revision=None if local else options.revision,
                trust_remote_code=options.trust_remote_code,
                local_files_only=local,
                model_input_names=["input_ids", "attention_mask"],
            )
    except Exception as error:  # the tokenizers library raises no narrower one for a file that it cannot read
        hub = "the hub's local cache (HF_HUB_OFFLINE is set)" if HF_HUB_OFFLINE else "the hub or its local cache"
        where = "the folder gives" if local else f"{no_folder}, and under that name {hub} gives"
        msg = f"{said} = {options.path!r}: {where} no tokenizer\n{type(error).__name__}: {error}"
        raise UserError(msg) from error


@contextmanager
def _without_remarks_on_models() -> Iterator[None]:
    """An export of ours may be of an architecture that the library does not know; its tokenizer is one all the same."""
    about_models = logging.getLogger("transformers.configuration_utils")
    level = about_models.level
    about_models.setLevel(logging.ERROR)
    try:
        yield
    finally:
        about_models.setLevel(level)


def _within(folder: Path, said: str) -> Path:
    """The tokenizer's own folder inside a run, a checkpoint or an export."""
    try:
        return tokenizer_folder(folder)
    except UserError as error:
        msg = f"{said}: {error}"
        raise UserError(msg) from error


def _give(tokenizer: Any, role: str) -> None:
    vocabulary = tokenizer.get_vocab()
    found = next((token for token in _REUSED[role] if token in vocabulary), None)
    tokenizer.add_special_tokens({f"{role}_token": found or _ADDED[role]})
    how = "reuses its token" if found else "adds the token"
    logger.warning("the tokenizer has no %s token: %s %s", role, how, found or _ADDED[role])
