"""Pairs out of one text: two crops of it, or a paragraph and those around it.

A crop and another of the same text belong together (Izacard et al. 2021, arXiv:2112.09118), and so do a passage and its
surroundings without it (the inverse cloze task of Lee et al. 2019, arXiv:1906.00300).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from neobert.seeding import derive_seed
from neobert_plugins.datasets.code_pairs import MIN_WORDS, count_words

CROP_WORDS = 64
"""Of a crop, but for the last, which has what is left."""
_WORD = re.compile(r"\S+")
_BREAK = re.compile(r"\n[ \t]*\n")


def crop_pairs(text: str) -> Iterator[tuple[str, str]]:
    """Each crop of a text with another one of it; the text and the crop's number alone say which."""
    crops = [crop for crop in crops_of(text) if count_words(crop) >= MIN_WORDS]
    for number, crop in enumerate(crops):
        if len(crops) > 1:
            step = 1 + derive_seed("crop", number, text) % (len(crops) - 1)
            yield crop, crops[(number + step) % len(crops)]


def crops_of(text: str) -> list[str]:
    """A text cut into stretches of so many words, each as it stands there."""
    words = list(_WORD.finditer(text))
    stretches = (words[first : first + CROP_WORDS] for first in range(0, len(words), CROP_WORDS))
    return [text[stretch[0].start() : stretch[-1].end()] for stretch in stretches]


def context_pairs(text: str) -> Iterator[tuple[str, str]]:
    """Each paragraph with the one before it and the one after it."""
    paragraphs = [part.strip() for part in _BREAK.split(text) if part.strip()]
    for number, paragraph in enumerate(paragraphs):
        around = "\n\n".join(paragraphs[max(0, number - 1) : number] + paragraphs[number + 1 : number + 2])
        if count_words(paragraph) >= MIN_WORDS and count_words(around) >= MIN_WORDS:
            yield paragraph, around
