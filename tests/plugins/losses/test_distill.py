"""Learning from a teacher against plain loops."""

from __future__ import annotations

import pytest
import torch

from neobert import UserError
from neobert_plugins.losses import Distill

FIELDS = {
    "query": [0, 1],
    "positive": [2, 3],
    "negative": [4, 5, 6, 7],
    "negative_of": [0, 0, 1, 1],
    "teacher_scores": torch.tensor([[3.0, 1.0, -1.0], [0.5, 0.7, 0.1]]),
}
CANDIDATES = [[2, 4, 5], [3, 6, 7]]


def kl(ours, teachers):
    p, q = (torch.stack(list(scores)).exp() for scores in (teachers, ours))
    p, q = p / p.sum(), q / q.sum()
    return sum(p[s] * (p[s] / q[s]).log() for s in range(3))


def margin_mse(ours, teachers):
    return sum(((ours[0] - ours[n]) - (teachers[0] - teachers[n])) ** 2 for n in (1, 2)) / 2


@pytest.mark.parametrize(("match", "function"), [("kl", kl), ("margin_mse", margin_mse)])
def test_scores_are_followed_by_the_formula(match, function, make_loss, batch_of, unit_rows, agree):
    embeddings = unit_rows(8)
    expected, agreed = 0.0, 0
    for q, candidates, teachers in zip((0, 1), CANDIDATES, FIELDS["teacher_scores"].double(), strict=True):
        ours = [embeddings[q] @ embeddings[c] / 0.2 for c in candidates]
        expected = expected + function(ours, teachers / 1.5)
        agreed += max(range(3), key=lambda s, ours=ours: ours[s].item()) == int(teachers.argmax())
    loss = make_loss(Distill(match=match, temperature=0.2, teacher_temperature=1.5))
    assert agree(loss, batch_of(8, **FIELDS), embeddings, expected, 2) == {"agreement": agreed}


def test_a_model_that_scores_as_its_teacher_has_no_loss(make_loss, batch_of, unit_rows):
    embeddings = unit_rows(8)
    scores = torch.stack([embeddings[q] @ embeddings[c].T for q, c in zip((0, 1), CANDIDATES, strict=True)]).detach()
    for match in ("kl", "margin_mse"):
        loss = make_loss(Distill(match=match, temperature=0.1, teacher_temperature=0.1))
        output = loss.losses_from(embeddings, batch_of(8, **{**FIELDS, "teacher_scores": scores}))
        assert output.total.item() == pytest.approx(0.0, abs=1e-12)
        assert output.metrics["agreement"] == 2


def test_no_negatives_are_a_finite_zero(make_loss, batch_of, unit_rows):
    embeddings = unit_rows(4)
    fields = {"query": [0, 1], "positive": [2, 3], "teacher_scores": torch.ones(2, 1)}
    none = torch.zeros(0, dtype=torch.int64)
    for match in ("kl", "margin_mse"):
        batch = batch_of(4, **fields, negative=none, negative_of=none)
        output = make_loss(Distill(match=match)).losses_from(embeddings, batch)
        output.total.backward()
        assert (output.total.item(), output.count.item()) == (0.0, 0)
        assert not embeddings.grad.any()


def test_scores_that_do_not_fit_the_negatives_are_refused(make_loss, batch_of, unit_rows):
    fields = {**FIELDS, "negative": [4, 5, 6], "negative_of": [0, 0, 1]}
    with pytest.raises(UserError, match="teacher_scores is 2 x 3, for 2 queries with 3 negatives"):
        make_loss(Distill()).losses_from(unit_rows(8), batch_of(8, **fields))


@pytest.mark.parametrize("match", ["kl", "margin_mse"])
def test_uneven_negatives_that_come_to_the_right_sum_are_not_mixed_up_in_silence(match, make_loss, batch_of, unit_rows):
    embeddings = unit_rows(8)
    output = make_loss(Distill(match=match)).losses_from(
        embeddings, batch_of(8, **{**FIELDS, "negative_of": [0, 1, 1, 1]})
    )
    output.total.backward()
    assert output.total.isnan()
    assert not embeddings.grad.isfinite().all(), "the run stops where a gradient is not finite"


@pytest.mark.parametrize("size", [4, 3])
@pytest.mark.parametrize("match", ["vector_cosine", "vector_mse"])
def test_vectors_are_followed_by_the_formula(match, size, make_loss, batch_of, unit_rows, agree):
    embeddings, vectors = unit_rows(5), torch.randn(2, size)
    loss = make_loss(Distill(match=match, teacher_size=size))
    assert (loss.to_teacher is None) == (size == 4)
    expected, cosines = 0.0, 0.0
    for q, v in zip((1, 3), vectors.double(), strict=True):
        u = embeddings[q] if size == 4 else loss.to_teacher.weight @ embeddings[q]
        cosine = u @ v / (u.norm() * v.norm())
        cosines += cosine.item()
        expected = expected + (1 - cosine if match == "vector_cosine" else sum((u - v) ** 2) / size)
    metrics = agree(loss, batch_of(5, query=[1, 3], teacher_vector=vectors), embeddings, expected, 2)
    assert metrics["cosine"] == pytest.approx(cosines)


def test_vectors_of_another_size_are_refused(make_loss, batch_of, unit_rows):
    loss = make_loss(Distill(match="vector_mse", teacher_size=3))
    with pytest.raises(UserError, match=r"loss\.teacher_size: the teacher's vectors have 5 values, and it says 3"):
        loss.losses_from(unit_rows(2), batch_of(2, query=[0], teacher_vector=torch.randn(1, 5)))


def test_the_way_to_the_teacher_is_trained_and_not_exported(make_loss):
    loss = make_loss(Distill(match="vector_mse", teacher_size=3))
    assert [name for name, _ in loss.named_parameters()] == ["to_teacher.weight"]
    assert loss.sentence_head().projection is None
