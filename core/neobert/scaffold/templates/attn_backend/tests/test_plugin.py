import torch
from neobert import SequenceLayout
from neobert.testing import check_attn_backend
from torch.nn.functional import scaled_dot_product_attention

from plugin_package.plugin import PluginOptions


def test_it_keeps_its_promises():
    check_attn_backend(PluginOptions(cap=2.0))


def test_with_a_cap_out_of_reach_it_is_plain_attention():
    q, k, v = torch.randn(3, 7, 2, 8, dtype=torch.float64).unbind()
    found = PluginOptions(cap=1e9).build(None)(q, k, v, SequenceLayout.from_lengths([7]), scale=0.3)
    expected = scaled_dot_product_attention(*(x.transpose(0, 1) for x in (q, k, v)), scale=0.3).transpose(0, 1)
    torch.testing.assert_close(found, expected)


def test_the_cap_bounds_how_much_one_token_outweighs_another():
    q = torch.tensor([[[100.0]], [[0.0]]], dtype=torch.float64)
    v = torch.tensor([[[1.0]], [[0.0]]], dtype=torch.float64)
    found = PluginOptions(cap=1.0).build(None)(q, q, v, SequenceLayout.from_lengths([2]), scale=1.0)
    # The first token's scores are 1 (capped) and 0, so its share of itself is e / (e + 1).
    torch.testing.assert_close(found[0, 0, 0], torch.tensor(1.0, dtype=torch.float64).sigmoid())
