"""What token ids on disk say of themselves: which tokenizer made them, and what stands around each row."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from attrs import asdict, field, frozen

from neobert.data.sequences import SpecialTokens
from neobert.errors import UserError
from neobert.files import write_json

TOKENIZATION = "tokenization.json"
"""The record's name, in the folder that holds the Arrow files."""


def _ids(values: Iterable[int]) -> tuple[int, ...]:
    return tuple(values)


@frozen(kw_only=True)
class Tokenization:
    """How a folder's rows were made."""

    fingerprint: str
    """Of what turns text into ids, see `fingerprint_of`."""
    tokenizer: str
    """What the tokenizer was called."""
    vocab_size: int
    prefix: tuple[int, ...] = field(default=(), converter=_ids)
    """Special tokens before the text of every row,"""
    suffix: tuple[int, ...] = field(default=(), converter=_ids)
    """and after it."""
    max_length: int | None = None
    """Tokens a row has at most, its special tokens included; None: whole documents."""

    @classmethod
    def of(cls, tokenizer: Any, *, special_tokens: bool, max_length: int | None = None) -> Tokenization:
        """Of rows that this tokenizer makes."""
        around = SpecialTokens.of(tokenizer) if special_tokens else SpecialTokens()
        return cls(
            fingerprint=fingerprint_of(tokenizer),
            tokenizer=name_of(tokenizer),
            vocab_size=len(tokenizer),
            prefix=around.prefix,
            suffix=around.suffix,
            max_length=max_length,
        )

    @property
    def around(self) -> SpecialTokens:
        """The special tokens of every row; none where rows are text alone."""
        return SpecialTokens(self.prefix, self.suffix)

    def write(self, folder: Path, **more: Any) -> None:
        """Beside the data, with whatever ``more`` there is to know."""
        write_json(
            folder / TOKENIZATION, {"format": 1, "special_tokens": self.around.count > 0, **asdict(self), **more}
        )


def read_record(file: Path) -> tuple[Tokenization, dict[str, Any]]:
    """The record in a file, and the whole file. Raises UserError where it is none."""
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
        if said["format"] != 1:
            msg = f"{file} has the format {said['format']}, which a later version wrote; this one reads format 1"
            raise UserError(msg)
        known = ("fingerprint", "tokenizer", "vocab_size", "prefix", "suffix", "max_length")
        return Tokenization(**{name: said[name] for name in known}), said
    except (ValueError, KeyError, TypeError) as error:
        msg = f"{file} does not say how the rows beside it were tokenized: {type(error).__name__}: {error}"
        raise UserError(msg) from error


def recorded(rows: Any, label: str) -> Tokenization | None:
    """The record beside the files of a ``datasets.Dataset``, or None where it has none (data of others)."""
    folders = sorted({Path(file["filename"]).parent for file in rows.cache_files})
    found = {read_record(folder / TOKENIZATION)[0] for folder in folders if (folder / TOKENIZATION).is_file()}
    if len({(record.fingerprint, record.around) for record in found}) > 1:
        made = " and ".join(sorted(f"{record.tokenizer} ({record.fingerprint})" for record in found))
        msg = f"{label} joins rows of different tokenizations, by {made}: one run has one tokenizer"
        raise UserError(msg)
    return next(iter(found), None)


def refuse_other_tokenizer(record: Tokenization, tokenizer: Any, label: str) -> None:
    """Raises UserError, with both named, where the run's tokenizer makes other ids of a text."""
    mine = fingerprint_of(tokenizer)
    if record.fingerprint != mine:
        msg = (
            f"{label} was tokenized by another tokenizer than the run's\n"
            f"the data's: {record.tokenizer}, {record.vocab_size} tokens, fingerprint {record.fingerprint}\n"
            f"the run's:  {name_of(tokenizer)}, {len(tokenizer)} tokens, fingerprint {mine}\n"
            "name the data's tokenizer in [tokenizer], or tokenize the text again with the run's"
        )
        raise UserError(msg)


def fingerprint_of(tokenizer: Any) -> str:
    """Of all that turns a text into ids: the model, what prepares the text for it, and added words.

    Special tokens are left out: they change no text's ids, and a run may give a tokenizer a mask or pad token
    that it had none of when the data was made. So are truncation and padding, which are never used.
    """
    parts = json.loads(tokenizer.backend_tokenizer.to_str())
    words = [token for token in parts["added_tokens"] if not token["special"]]
    relevant = [parts["model"], parts["normalizer"], parts["pre_tokenizer"], words]
    return hashlib.blake2b(json.dumps(relevant, sort_keys=True).encode(), digest_size=16).hexdigest()


def name_of(tokenizer: Any) -> str:
    """What a person would call the tokenizer: where it is from, else its class."""
    return str(getattr(tokenizer, "name_or_path", "") or type(tokenizer).__name__)
