"""A task of MTEB (Muennighoff et al. 2023, arXiv:2210.07316), run by its own library on the model opened here."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from attrs import frozen
from torch import Tensor
from torch.nn import functional as F

from neobert.errors import UserError
from neobert.evaluation.model import TextKind, TextModel
from neobert.evaluation.tasks import Asks, Figures

NEEDS_MTEB = "tasks of MTEB need its library, which is not installed here:\n  pip install 'neobert[mteb]'"


class MtebEncoder:
    """A `TextModel` as MTEB calls one (its ``EncoderProtocol``)."""

    def __init__(self, model: TextModel, meta: Any) -> None:
        self._model = model
        self.mteb_model_meta = meta

    def encode(self, inputs: Iterable[Mapping[str, Any]], *, prompt_type: Any = None, **others: Any) -> Any:
        """``inputs``: batches with their ``text``s -> (N, E), numpy. MTEB says what it runs in ``others``."""
        texts = [text for batch in inputs for text in batch["text"]]
        return self._model.embed(texts, _kind(prompt_type)).cpu().numpy()

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Tensor:
        """(N, E), (M, E) -> (N, M)."""
        return self._compared(embeddings1) @ self._compared(embeddings2).T

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Tensor:
        """(N, E) twice -> (N,)."""
        return (self._compared(embeddings1) * self._compared(embeddings2)).sum(-1)

    def _compared(self, embeddings: Any) -> Tensor:
        import torch

        rows = torch.as_tensor(embeddings)
        rows = rows if rows.ndim > 1 else rows[None]
        return F.normalize(rows, dim=-1) if self._model.similarity == "cosine" else rows


@frozen(eq=False)
class MtebTask:
    """One of its tasks. Its library fetches the data, and decides what is measured."""

    asks: ClassVar[Asks] = "embeddings"

    task: Any
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> str:
        return f"{self.task.metadata.type}, splits {', '.join(self.task.eval_splits)}"

    def of_model(self, model: TextModel) -> Figures:
        """Its main score, the mean over what the task consists of."""
        import mteb
        from mteb.models.model_meta import ModelMeta

        meta = ModelMeta.create_empty({"name": "neobert/evaluated", "revision": "here"})
        try:
            results = mteb.evaluate(MtebEncoder(model, meta), self.task, cache=None, show_progress_bar=False)
        except Exception as error:
            msg = f"MTEB's task {self.task.metadata.name} failed\n{type(error).__name__}: {error}"
            raise UserError(msg) from error
        return {str(self.task.metadata.main_score): float(results.task_results[0].get_score())}

    def of_words(self) -> Mapping[str, Figures]:
        """It has none."""
        return {}


def mteb_task(name: str) -> MtebTask:
    """Raises UserError where MTEB is not installed, or has no such task."""
    from importlib.util import find_spec

    if find_spec("mteb") is None:
        raise UserError(NEEDS_MTEB)
    import mteb

    logging.getLogger("mteb").setLevel(logging.ERROR)
    try:
        return MtebTask(mteb.get_task(name))
    except KeyError as error:
        msg = f"--tasks mteb={name}: {error.args[0]}"
        raise UserError(msg) from error


def _kind(prompt_type: Any) -> TextKind:
    kinds: dict[str, TextKind] = {"query": "query", "document": "document"}
    return kinds.get(str(getattr(prompt_type, "value", prompt_type)), "text")
