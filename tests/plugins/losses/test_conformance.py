from __future__ import annotations

import pytest

from neobert.testing import check_loss
from neobert_plugins.losses import FullLogitsLM, MaskedLM


@pytest.mark.parametrize("options", [MaskedLM(), FullLogitsLM()], ids=["masked_lm", "full_logits_lm"])
def test_losses_keep_their_promises(options):
    check_loss(options)
