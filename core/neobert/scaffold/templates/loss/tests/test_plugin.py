import pytest
import torch
from neobert import Batch, SequenceLayout
from neobert.testing import TinyEncoder, check_loss, make_context

from plugin_package.plugin import PluginOptions


@pytest.mark.parametrize("epsilon", [-1.0, 0.0, 1.0])
def test_it_keeps_its_promises(epsilon):
    check_loss(PluginOptions(epsilon=epsilon))


def test_the_total_is_the_formula_s():
    encoder = TinyEncoder(20)
    loss = PluginOptions(epsilon=2.0).build(make_context(encoder=encoder, vocab_size=20)).double()
    ids, places, labels = torch.arange(5, 10), torch.tensor([1, 3]), torch.tensor([6, 8])
    batch = Batch(ids, SequenceLayout.from_lengths([5]), {"masked_positions": places, "labels": labels})
    output = loss(encoder, batch)
    logits = encoder(batch.input_ids, batch.layout, places) @ encoder.input_embedding.weight.T
    p = logits.softmax(-1).gather(1, labels[:, None])
    torch.testing.assert_close(output.total, (-p.log() + 2.0 * (1 - p)).sum())
    assert output.count == 2
