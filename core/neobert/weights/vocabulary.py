"""Whether a run's tokenizer is the one that weights were trained with: token by token, not only by their number."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from neobert.errors import UserError
from neobert.run_folder import tokenizer_inside
from neobert.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from neobert.weights.files import Location

TOKENIZER_FILE = "tokenizer.json"
HOW_TEXT_IS_SPLIT = ("normalizer", "pre_tokenizer")
_SHOWN = 3


def compare_vocabulary(location: Location, tokenizer: Any) -> list[str]:
    """What there is to say about the tokenizer beside the weights and the run's own, a line each.

    Raises UserError where a token of the weights' vocabulary has another id in the run's, or none: each row of the
    embedding would stand for another word, though every shape fits. Tokens that the run's has beside those are said.
    """
    file = tokenizer_inside(location.folder) / TOKENIZER_FILE
    if not file.is_file():
        return ["no tokenizer lies beside these weights, so that only the size of the vocabulary is compared"]
    there, parts = _read(file)
    here: dict[str, int] = tokenizer.get_vocab()
    moved = sorted((token for token, number in there.items() if here.get(token) != number), key=there.__getitem__)
    if moved:
        raise UserError(_another_vocabulary(location, file.parent, there, here, moved))
    notes = []
    more = sorted(here.keys() - there.keys(), key=here.__getitem__)
    if more:
        notes.append(f"the run's tokenizer has {counted(len(more), 'token')} more than the weights': {_some(more)}")
    mine = json.loads(tokenizer.backend_tokenizer.to_str())
    other = [name for name in HOW_TEXT_IS_SPLIT if mine.get(name) != parts.get(name)]
    if other:
        notes.append(f"the run's tokenizer splits text otherwise than the weights' (its {' and '.join(other)})")
    return notes


def _read(file: Path) -> tuple[dict[str, int], dict[str, Any]]:
    """Token -> id, and the tokenizer's description."""
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(file))
        return tokenizer.get_vocab(with_added_tokens=True), json.loads(tokenizer.to_str())
    except Exception as error:  # the library raises nothing narrower
        msg = f"{file}, the tokenizer beside the weights, cannot be read: {error}"
        raise UserError(msg) from error


def _another_vocabulary(
    location: Location, folder: Path, there: dict[str, int], here: dict[str, int], moved: list[str]
) -> str:
    examples = ", ".join(
        f"{token!r} is {there[token]} there and {here.get(token, 'none')} here" for token in moved[:_SHOWN]
    )
    return (
        f"the weights at {location.source} were trained with another vocabulary than this run's tokenizer has: "
        f"of {counted(len(there), 'token')}, {len(moved):,} have another id here, or none\n"
        f"{examples}\n"
        f'take theirs: [tokenizer] name = "pretrained", path = "{folder}"'
    )


def _some(tokens: Iterable[str]) -> str:
    listed = [repr(token) for token in tokens]
    return ", ".join(listed[:_SHOWN]) + (", ..." if len(listed) > _SHOWN else "")
