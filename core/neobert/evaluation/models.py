"""The model of a folder as tasks ask for it: each way to open it, once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from attrs import field, frozen

from neobert.evaluation.masked import open_masked
from neobert.evaluation.opening import open_model
from neobert.evaluation.predicting import open_predicting
from neobert.evaluation.tasks import Asks

_WAYS = {"embeddings": open_model, "guesses": open_masked, "classes": open_predicting}


@frozen(eq=False)
class Models:
    """What was opened so far of a folder."""

    folder: Path
    device: torch.device
    opened: dict[str, Any] = field(factory=dict, init=False)

    def open(self, asks: Asks) -> Any:
        """A `TextModel` for embeddings, a `MaskedModel` for guesses, a `PredictingModel` for classes.

        Raises UserError where the folder has none.
        """
        if asks not in self.opened:
            self.opened[asks] = _WAYS[asks](self.folder, self.device)
        return self.opened[asks]

    @property
    def description(self) -> str:
        """What was opened, and how."""
        return "; ".join(dict.fromkeys(model.description for model in self.opened.values()))

    @property
    def similarity(self) -> str | None:
        """What embeddings are compared by, where they were asked for."""
        return self.opened["embeddings"].similarity if "embeddings" in self.opened else None
