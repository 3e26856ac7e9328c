from __future__ import annotations

import pytest

from neobert.testing import check_attn_backend
from neobert_plugins.attention import EagerAttention, SdpaAttention


@pytest.mark.parametrize("options", [EagerAttention(), SdpaAttention()], ids=["eager", "sdpa"])
def test_backends_keep_their_promises(options):
    check_attn_backend(options)
