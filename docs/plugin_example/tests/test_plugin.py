from __future__ import annotations

import pytest
from neobert_plugin_example.plugin import Blockwise, FocalLM

from neobert.testing import check_attn_backend, check_loss


@pytest.mark.parametrize("block_size", [16, 128])
def test_blockwise_keeps_its_promises(block_size):
    check_attn_backend(Blockwise(block_size=block_size))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_lm_keeps_its_promises(gamma):
    check_loss(FocalLM(gamma=gamma))
