"""The task ``pseudo_perplexity``: how well a model guesses each token of some texts from all others."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

from attrs import field, frozen
from attrs.validators import ge, optional

from neobert.errors import UserError
from neobert.evaluation.lines import Faults, read_lines
from neobert.evaluation.masked import MaskedModel
from neobert.evaluation.pseudo import STREAM_TOKENS, Scores, Windows, sampled, score, windows_of
from neobert.evaluation.tasks import Asks, Figures, Measured, Part
from neobert.training.meter import perplexity
from neobert.wording import counted

TEXTS_FORMAT = 'expected: a .txt file with a text a line, or .jsonl with {"text": "..."} a line'
LongTexts = Literal["windows", "refuse"]
LONG_TEXTS: tuple[LongTexts, ...] = ("windows", "refuse")


@frozen(kw_only=True)
class PseudoOptions:
    """How texts are scored."""

    stream_tokens: int = field(default=STREAM_TOKENS, validator=ge(1))
    """Tokens of a stream of copies, at most."""
    sample: int | None = field(default=None, validator=optional(ge(1)))
    """Score so many tokens, drawn by a fixed seed; None: all."""
    long_texts: LongTexts = "windows"
    """What becomes of a text that is longer than the model's sequences."""


@frozen(eq=False)
class PseudoPerplexityTask:
    """exp of minus the mean log-probability of a token, each masked in turn (Salazar et al. 2020)."""

    asks: ClassVar[Asks] = "guesses"

    texts: tuple[str, ...]
    options: PseudoOptions = field(factory=PseudoOptions)
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> str:
        return counted(len(self.texts), "text")

    def of_model(self, model: MaskedModel) -> Measured:
        """Raises UserError for a text that is too long, where such are refused, or with no token to score."""
        windows = windows_of(self.texts, model.tokenizer, model.max_seq_length)
        self._refuse_long(windows, model)
        if not windows.tokens:
            msg = "pseudo_perplexity: no text has a token that is not special: there is nothing to score"
            raise UserError(msg)
        chosen = windows.sequences
        if self.options.sample is not None and self.options.sample < windows.tokens:
            chosen = sampled(windows, self.options.sample)
        scores = score(model, chosen, len(self.texts), self.options.stream_tokens)
        total = int(scores.tokens.sum())
        return Measured(
            figures=_figures(float(scores.log_likelihood.sum()), total),
            size=f"{total:,} of {counted(windows.tokens, 'token')} scored, in {counted(scores.streams, 'stream')}",
            notes=tuple(_said(windows, model)),
            parts=tuple(self._part(number, scores, windows) for number in range(len(self.texts))),
        )

    def of_words(self) -> Mapping[str, Figures]:
        """It has none."""
        return {}

    def _part(self, number: int, scores: Scores, windows: Windows) -> Part:
        likelihood, tokens = float(scores.log_likelihood[number]), int(scores.tokens[number])
        figures: dict[str, float] = {**_figures(likelihood, tokens), "tokens": tokens, "log_likelihood": likelihood}
        if windows.per_text[number] > 1:
            figures["windows"] = windows.per_text[number]
        return Part(self.texts[number], figures)

    def _refuse_long(self, windows: Windows, model: MaskedModel) -> None:
        long = [number for number, count in enumerate(windows.per_text) if count > 1]
        if long and self.options.long_texts == "refuse":
            msg = (
                f"pseudo_perplexity: {counted(len(long), 'text')} longer than the model's {model.max_seq_length:,} "
                f"tokens, the first is text {long[0] + 1}: {self.texts[long[0]][:60]!r}\n"
                "shorten them, or score them in windows: --long-texts windows"
            )
            raise UserError(msg)


def read_texts(file: Path) -> tuple[str, ...]:
    """The texts of a file, empty lines passed over. Raises UserError with every fault of it."""
    faults = Faults()
    texts: list[str] = []
    if file.suffix == ".txt":
        try:
            texts = [line.strip() for line in file.read_text(encoding="utf-8").split("\n") if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            faults.add(str(file), f"cannot be read: {error}")
    elif file.suffix in (".jsonl", ".json", ".ndjson"):
        texts = [text for line in read_lines(file, faults) if (text := line.text("text")) is not None]
    else:
        faults.add(str(file), f"what is in a file named {file.suffix or 'without an ending'} is not known")
    if not texts and not faults.found:
        faults.add(str(file), "no text is in it")
    faults.refuse(TEXTS_FORMAT)
    return tuple(texts)


def _figures(log_likelihood: float, tokens: int) -> dict[str, float]:
    loss = -log_likelihood / tokens if tokens else math.nan
    return {"pseudo_perplexity": perplexity(loss) if tokens else math.nan, "loss": loss}


def _said(windows: Windows, model: MaskedModel) -> list[str]:
    cut = [count for count in windows.per_text if count > 1]
    said = []
    if cut:
        said.append(
            f"{counted(len(cut), 'text')} longer than the model's {model.max_seq_length:,} tokens: scored in "
            f"{counted(sum(cut), 'window')}, a token seeing its own alone"
        )
    if windows.special:
        said.append(f"{counted(windows.special, 'special or unknown token')} inside the texts not scored")
    return said
