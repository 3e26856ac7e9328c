import numpy as np
import pytest
from neobert.testing import check_datacollator, make_context, make_tokenizer

from plugin_package.plugin import PluginOptions


@pytest.mark.parametrize("options", [{}, {"mlm_probability": 0.5, "max_length": 3}, {"mlm_probability": 1.0}])
def test_it_keeps_its_promises(options):
    check_datacollator(PluginOptions(**options))


def runs_of(options, sequences=200, length=100):
    """Lengths of all runs that are masked in so many sequences of ordinary tokens, and the share that is masked."""
    tokenizer = make_tokenizer()
    collate = PluginOptions(**options).build(make_context(tokenizer=tokenizer))
    ids = np.arange(length) % 50 + 10
    batch = collate([{"input_ids": ids}] * sequences, np.random.default_rng(0))
    positions = batch.fields["masked_positions"].numpy()
    assert (batch.input_ids[positions] == tokenizer.mask_token_id).all()
    # A run goes on where the next position follows, in the same sequence.
    breaks = np.flatnonzero((np.diff(positions) > 1) | (np.diff(positions // length) > 0))
    return np.diff([-1, *breaks, len(positions) - 1]), len(positions) / (sequences * length)


def test_as_many_tokens_as_asked_are_masked():
    assert runs_of({"mlm_probability": 0.15})[1] == pytest.approx(0.15, abs=0.005)
    assert runs_of({"mlm_probability": 0.15}, length=3)[1] == pytest.approx(0.15, abs=0.05)


def test_they_come_in_runs():
    single, _ = runs_of({"mlm_probability": 0.05, "mean_length": 1.0})
    long, _ = runs_of({"mlm_probability": 0.05, "mean_length": 4.0})
    assert single.mean() < 1.2
    assert long.mean() > 1.8
