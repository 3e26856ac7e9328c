from __future__ import annotations

import pytest

from neobert.testing import check_loss
from neobert_plugins.losses import (
    CoSENT,
    CosineMSE,
    Distill,
    FullLogitsLM,
    InfoNCE,
    MaskedLM,
    Matryoshka,
    SimCSE,
    SupCon,
)

HARD = {"hard_negative_weight": 3.0, "margin": 0.1, "symmetric": True, "learn_temperature": True}
LOSSES = {
    "masked_lm": MaskedLM(),
    "full_logits_lm": FullLogitsLM(),
    "info_nce": InfoNCE(),
    "info_nce, every option": InfoNCE(
        pooling="weighted_mean", projection_size=5, projection_bias=True, chunk_tokens=12, **HARD
    ),
    "info_nce, dot products": InfoNCE(normalize=False, pooling="max", temperature=1.0),
    "simcse": SimCSE(pooling="cls"),
    "supcon": SupCon(pooling="last"),
    "cosent": CoSENT(pooling="avg"),
    "cosine_mse": CosineMSE(max_score=5.0, chunk_tokens=12),
    "matryoshka": Matryoshka(dims=(8, 4)),
    "matryoshka of another": Matryoshka(
        loss={"name": "cosine_mse", "projection_size": 5}, dims=(3, 5), weights=(0.5, 1.0)
    ),
    "distill, kl": Distill(),
    "distill, margins": Distill(match="margin_mse"),
    "distill, cosine": Distill(match="vector_cosine", teacher_size=8, projection_size=4),
    "distill, vectors": Distill(match="vector_mse", teacher_size=8),
}


@pytest.mark.parametrize("options", LOSSES.values(), ids=LOSSES.keys())
def test_losses_keep_their_promises(options):
    check_loss(options)
