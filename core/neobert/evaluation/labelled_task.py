"""The task ``labelled``: how often a model's classes are right, or how near its numbers are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from attrs import frozen

from neobert.errors import UserError
from neobert.evaluation.lines import Faults, Line, read_lines
from neobert.evaluation.predicting import PredictingModel, Texts
from neobert.evaluation.tasks import Asks, Figures, Measured
from neobert.prediction.figures import class_figures, number_figures
from neobert.wording import counted

LABELLED_FORMAT = (
    'a line of it: {"text": "...", "label": "..."} or {"sentence1": "...", "sentence2": "...", "label": "..."}, or '
    'either with a number as "score" in the place of the label'
)


@frozen(eq=False)
class LabelledTask:
    """Texts, or pairs of them, with what is right of each."""

    asks: ClassVar[Asks] = "classes"

    source: str
    examples: tuple[Texts, ...]
    labels: tuple[str, ...] = ()
    """A name, or a number as text; of examples with scores, none."""
    scores: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> str:
        return counted(len(self.examples), "example" if len(self.examples[0]) == 1 else "pair")

    def of_model(self, model: PredictingModel) -> Measured:
        """Raises UserError where the model says classes and the file has numbers, or labels that it does not know."""
        if bool(self.scores) != (not model.labels):
            has = "scores" if self.scores else "labels"
            says = f"one of {len(model.labels)} classes" if model.labels else "a number"
            msg = f"{self.source} has {has}, and the model says {says} of a text"
            raise UserError(msg)
        right = None if self.scores else self._numbers(model.labels)
        predicted, cut = model.predict_counting(self.examples)
        if not bool(torch.isfinite(predicted).all()):
            msg = "the model's predictions hold values that are not finite: it is broken, and no figure means anything"
            raise UserError(msg)
        if right is None:
            figures = number_figures(predicted[:, 0].numpy(), np.asarray(self.scores))
            mistake = predicted[:, 0].double().numpy() - np.asarray(self.scores)
            figures["mse"] = float(np.square(mistake).mean())
        else:
            figures = class_figures(predicted.argmax(-1).numpy(), right, len(model.labels))
        said = f"{counted(cut, 'example')} cut to the model's {model.max_seq_length:,} tokens"
        return Measured(figures, notes=(said,) if cut else ())

    def of_words(self) -> Mapping[str, Figures]:
        """What always saying the most frequent label of the file comes to."""
        if self.scores:
            return {}
        names = sorted(set(self.labels))
        right = np.array([names.index(label) for label in self.labels])
        most = int(np.bincount(right).argmax())
        found = class_figures(np.full_like(right, most), right, len(names))
        return {f"always {names[most]!r}": {name: found[name] for name in found if name != "f1"}}

    def _numbers(self, names: tuple[str, ...]) -> np.ndarray:
        """(N,) the class of each label: by its name, else by its number."""
        known = {str(number): number for number in range(len(names))}
        known |= {name: number for number, name in enumerate(names)}
        unknown = sorted(set(self.labels) - known.keys())
        if unknown:
            msg = (
                f"{self.source} has labels that the model does not know: {', '.join(map(repr, unknown[:5]))}\n"
                f"its classes: {', '.join(map(repr, names))}, or their numbers from 0 on"
            )
            raise UserError(msg)
        return np.array([known[label] for label in self.labels], dtype=np.int64)


def read_labelled(file: Path) -> LabelledTask:
    """Raises UserError with every fault of the file, of which all lines have the same keys."""
    faults, examples, values = Faults(), [], []
    lines = list(read_lines(file, faults))
    if lines:
        pairs, scored = "sentence1" in lines[0].values, "score" in lines[0].values
        for line in lines:
            texts, value = _texts(line, pairs=pairs), line.number("score") if scored else line.label("label")
            if None not in texts and value is not None:
                examples.append(texts)
                values.append(value)
    elif not faults.found:
        faults.add(str(file), "no example is in it")
    faults.refuse(LABELLED_FORMAT)
    found = {"scores" if scored else "labels": tuple(values)}
    return LabelledTask(str(file), tuple(examples), **found)  # type: ignore[arg-type]


def _texts(line: Line, *, pairs: bool) -> tuple[str | None, ...]:
    return (line.text("sentence1"), line.text("sentence2")) if pairs else (line.text("text"),)
