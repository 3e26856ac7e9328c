import pytest
import torch
from neobert import SequenceLayout
from neobert.testing import check_model, make_context

from plugin_package.plugin import PluginOptions

SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


@pytest.mark.parametrize("dropout_prob", [0.0, 0.1])
def test_it_keeps_its_promises(dropout_prob):
    check_model(PluginOptions(**SMALL, dropout_prob=dropout_prob))


def test_the_order_of_tokens_matters():
    encoder = PluginOptions(**SMALL).build(make_context(vocab_size=50)).eval()
    layout = SequenceLayout.from_lengths([3])
    one, other = (encoder(torch.tensor(ids), layout)[2] for ids in ([7, 8, 9], [8, 7, 9]))
    assert not torch.allclose(one, other, atol=1e-6)


def test_heads_that_do_not_divide_the_width_are_told_by_check():
    assert PluginOptions(**SMALL).check(None) == []
    (problem,) = PluginOptions(**{**SMALL, "num_attention_heads": 3}).check(None)
    assert "num_attention_heads = 3" in problem
