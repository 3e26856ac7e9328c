"""The guesses that a run ends with are tokens, each with a name."""

from __future__ import annotations

import re
from collections.abc import Callable

Run = Callable[..., tuple[int, str]]


def test_a_guess_is_never_a_row_that_only_rounds_the_vocabulary_up(go: Run) -> None:
    # One step leaves the padding rows as likely as tokens, which is when they would show.
    _, said = go("--trainer.max_steps=2", "--tokenizer.pad_vocab_to_multiple_of=4096")
    guesses = re.findall(r"^      (.+%)$", said, flags=re.MULTILINE)
    assert guesses
    for line in guesses:
        assert re.fullmatch(r"\S+ \d+%(, \S+ \d+%){4}", line), line
