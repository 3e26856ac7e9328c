"""What is masked, how often, with what, and that it is a function of examples and generator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from neobert import BuildContext, UserError
from neobert_plugins.collators.options import MaskedLM

SPECIAL = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4}
WORDS = {f"w{number}": number for number in range(5, 50)} | {"late": 60}
VOCABULARY = SPECIAL | WORDS


@pytest.fixture(scope="module")
def context():
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(VOCABULARY, unk_token="[UNK]")),
        **dict(zip(names, SPECIAL, strict=True)),
    )
    return BuildContext(
        seed=0,
        device=torch.device("cpu"),
        run_directory=Path(),
        max_seq_length=64,
        max_steps=1,
        tokenizer=tokenizer,
        vocab_size=128,
    )


def examples(count=400, length=50, seed=0):
    rng = np.random.default_rng(seed)
    ids = sorted(WORDS.values())
    return [{"input_ids": np.array([2, *rng.choice(ids, length), 3])} for _ in range(count)]


def collated(context, rows=None, seed=1, **options):
    rows = examples() if rows is None else rows
    batch = MaskedLM(**options).build(context)(rows, np.random.default_rng(seed))
    before = torch.from_numpy(np.concatenate([row["input_ids"] for row in rows]))
    positions = batch.fields["masked_positions"]
    return batch, before, batch.input_ids[positions], before[positions]


def test_the_batch_is_the_stream_with_labels_where_it_was_masked(context):
    rows = [{"input_ids": [2, 5, 6, 3]}, {"input_ids": [2, 7, 3]}]
    batch, before, _, labels = collated(context, [{"input_ids": np.array(row["input_ids"])} for row in rows])
    assert batch.layout.lengths == (4, 3)
    assert (
        batch.input_ids.dtype == batch.fields["labels"].dtype == batch.fields["masked_positions"].dtype == torch.int64
    )
    assert torch.equal(batch.fields["labels"], labels)
    untouched = torch.ones(7, dtype=torch.bool)
    untouched[batch.fields["masked_positions"]] = False
    assert torch.equal(batch.input_ids[untouched], before[untouched])


def test_shares_of_the_published_rule(context):
    batch, before, after, labels = collated(context)
    words = (before >= 5).sum()
    assert len(labels) / words == pytest.approx(0.2, abs=0.01)
    assert (after == 4).float().mean() == pytest.approx(0.8, abs=0.02)
    kept = (after == labels).float().mean()
    assert kept == pytest.approx(0.1 + 0.1 / len(WORDS), abs=0.02)
    assert torch.equal(batch.fields["masked_positions"].sort().values, batch.fields["masked_positions"])


def test_special_tokens_are_never_selected_and_never_drawn(context):
    _, _, after, labels = collated(context, random_share=1.0, mask_share=0.0, keep_share=0.0)
    assert (labels >= 5).all()
    assert set(after.tolist()) == set(WORDS.values())


def test_random_tokens_are_uniform(context):
    from scipy import stats

    _, _, after, _ = collated(context, random_share=1.0, mask_share=0.0, keep_share=0.0, mlm_probability=1.0)
    counts = np.bincount(after.numpy())[sorted(WORDS.values())]
    assert stats.chisquare(counts).pvalue > 1e-4


def test_selection_is_independent_of_place(context):
    batch, *_ = collated(context)
    place = batch.layout.position_ids[batch.fields["masked_positions"]].numpy()
    from scipy import stats

    assert stats.chisquare(np.bincount(place, minlength=52)[1:51]).pvalue > 1e-4


def test_mask_all(context):
    _, _, after, _ = collated(context, mask_all=True)
    assert (after == 4).all()


def test_everything_selected(context):
    batch, before, _, _ = collated(context, mlm_probability=1.0)
    assert len(batch.fields["labels"]) == (before >= 5).sum()


def test_at_least_one_where_one_can_be(context):
    rows = [{"input_ids": np.array([2, 9, 3])}]
    for seed in range(50):
        batch, *_ = collated(context, rows, seed=seed, mlm_probability=0.001)
        assert batch.fields["masked_positions"].tolist() == [1]


def test_none_where_none_can_be(context):
    batch, *_ = collated(context, [{"input_ids": np.array([2, 3])}])
    assert batch.fields["masked_positions"].shape == batch.fields["labels"].shape == (0,)
    assert batch.input_ids.tolist() == [2, 3]


def test_same_examples_and_generator_same_batch(context):
    rows = examples(20)
    copies = [row["input_ids"].copy() for row in rows]
    first, *_ = collated(context, rows)
    again, *_ = collated(context, rows)
    other, *_ = collated(context, rows, seed=2)
    assert torch.equal(first.input_ids, again.input_ids)
    assert not torch.equal(first.input_ids, other.input_ids)
    assert all(np.array_equal(row["input_ids"], copy) for row, copy in zip(rows, copies, strict=True))


def test_shares_that_do_not_sum_to_one(context):
    options = MaskedLM(mask_share=0.9)
    assert "must be 1" in options.check(None)[0]
    assert MaskedLM(mask_share=0.7, random_share=0.2).check(None) == []
    with pytest.raises(UserError, match="must be 1"):
        options.build(context)


@pytest.mark.parametrize("wrong", [{"mlm_probability": 0.0}, {"mlm_probability": 1.1}, {"keep_share": -0.1}])
def test_values_out_of_range(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        MaskedLM(**wrong)
