from __future__ import annotations

import pytest

from neobert.testing import check_attn_backend
from neobert_plugins.attention import AutoAttention, EagerAttention, FlexAttention, SdpaAttention


@pytest.mark.parametrize("options", [EagerAttention(), SdpaAttention(), AutoAttention()], ids=["eager", "sdpa", "auto"])
def test_backends_keep_their_promises(options):
    check_attn_backend(options)


@pytest.mark.slow
def test_flex_keeps_its_promises():
    """Slow: it compiles a kernel for each padded length, dtype and scale."""
    check_attn_backend(FlexAttention())
