"""Learning from a teacher's scores or vectors.

Shapes: B examples, k hard negatives of each, S = 1 + k candidates, E embedding size, D size of the teacher's vectors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from neobert import LossOutput, UserError
from neobert.contrast import EmbeddingLoss

if TYPE_CHECKING:
    from neobert.contrast import Embedder


class ScoresLoss(EmbeddingLoss):
    """Needs ``query`` (B,), ``positive`` (B,), ``negative`` (B k,) and ``negative_of`` (B k,), example by example, and
    ``teacher_scores`` (B, 1 + k) of the positive and the negatives, in their order.

    With s and t the model's and the teacher's scores over their temperatures: the divergence KL(softmax t || softmax s)
    (Hinton et al. 2015, arXiv:1503.02531), or with ``margins`` the mean over negatives of ((s_p - s_n) - (t_p - t_n))²
    (Hofstätter et al. 2020, arXiv:2010.02666).
    """

    def __init__(
        self,
        embedder: Embedder,
        needs: tuple[str, ...],
        *,
        margins: bool,
        temperature: float,
        teacher_temperature: float,
    ) -> None:
        super().__init__(embedder, needs)
        self._margins = margins
        self._temperature = temperature
        self._teacher_temperature = teacher_temperature

    def compare(self, embeddings: Tensor, fields: Mapping[str, Tensor]) -> LossOutput:
        """The losses of all queries summed, and their number. ``agreement``: both find the same candidate best."""
        ours = self._scores(embeddings, fields) / self._temperature
        teachers = fields["teacher_scores"].to(ours.dtype) / self._teacher_temperature
        count, width = ours.shape
        if width == 1:  # nothing to choose from
            return LossOutput(ours.sum() * 0.0, fields["query"].new_zeros(()), {"agreement": ours.new_zeros(())})
        if self._margins:
            difference = (ours[:, :1] - ours[:, 1:]) - (teachers[:, :1] - teachers[:, 1:])
            losses = difference.square().mean(1)
        else:
            losses = F.kl_div(ours.log_softmax(1), teachers.log_softmax(1), reduction="none", log_target=True).sum(1)
        agreed = (ours.detach().argmax(1) == teachers.argmax(1)).sum()
        return LossOutput(losses.sum(), fields["query"].new_full((), count), {"agreement": agreed})

    def _scores(self, embeddings: Tensor, fields: Mapping[str, Tensor]) -> Tensor:
        """(B, S): similarities of each query with its positive and its own negatives."""
        query, negative, owner = (fields[name] for name in ("query", "negative", "negative_of"))
        count, width = fields["teacher_scores"].shape
        if count != len(query) or len(negative) != count * (width - 1):
            msg = (
                f"teacher_scores is {count} x {width}, for {len(query)} queries with {len(negative)} negatives "
                "together: each query needs a score for its positive and one for each negative, and as many as others"
            )
            raise UserError(msg)
        candidates = torch.cat((fields["positive"].unsqueeze(1), negative.view(count, width - 1)), 1)
        scores = torch.einsum("be,bse->bs", embeddings[query], embeddings[candidates])
        # Numbers that differ and come to the right sum all the same are seen on the device alone, where nothing waits
        # for an answer: a loss that is not a number stops the run.
        even = (owner.view(count, width - 1) == torch.arange(count, device=owner.device).unsqueeze(1)).all()
        return scores * torch.where(even, 1.0, torch.nan)


class VectorsLoss(EmbeddingLoss):
    """Needs ``query`` (B,) and ``teacher_vector`` (B, D) in the batch.

    With v the teacher's vector and u the query's embedding, through a linear layer of the loss's own where E is not D:
    1 - cos(u, v), or the mean over D of (u - v)².
    """

    def __init__(self, embedder: Embedder, needs: tuple[str, ...], *, cosine: bool, teacher_size: int) -> None:
        super().__init__(embedder, needs)
        self._cosine = cosine
        self._size = teacher_size
        self.to_teacher = None
        if teacher_size != embedder.embedding_size:
            self.to_teacher = nn.Linear(embedder.embedding_size, teacher_size, bias=False)

    def compare(self, embeddings: Tensor, fields: Mapping[str, Tensor]) -> LossOutput:
        """The losses of all queries summed, and their number. ``cosine``: of embedding and teacher's vector."""
        mine, vectors = embeddings[fields["query"]], fields["teacher_vector"].to(embeddings.dtype)
        if vectors.shape[1] != self._size:
            msg = f"loss.teacher_size: the teacher's vectors have {vectors.shape[1]} values, and it says {self._size}"
            raise UserError(msg)
        if self.to_teacher is not None:
            mine = self.to_teacher(mine)
        cosines = F.cosine_similarity(mine, vectors, dim=-1)
        losses = 1.0 - cosines if self._cosine else (mine - vectors).square().mean(1)
        count = fields["query"].new_full((), len(mine))
        return LossOutput(losses.sum(), count, {"cosine": cosines.detach().sum()})
