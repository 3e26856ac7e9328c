from __future__ import annotations

from typing import ClassVar

import pytest
from attrs import evolve, frozen

from neobert import Capabilities
from neobert.testing import check_attn_backend
from neobert_plugins.attention import AutoAttention, EagerAttention, FlexAttention, SdpaAttention


@pytest.mark.parametrize("options", [EagerAttention(), SdpaAttention(), AutoAttention()], ids=["eager", "sdpa", "auto"])
def test_backends_keep_their_promises(options):
    check_attn_backend(options)


@pytest.mark.slow
def test_flex_keeps_its_promises():
    """In one dtype: it compiles a kernel for each padded length and scale. test_flex.py has all that is around it in
    every dtype."""

    @frozen(kw_only=True)
    class InOneType(FlexAttention):
        capabilities: ClassVar[Capabilities] = evolve(FlexAttention.capabilities, dtypes=("float32",))

    check_attn_backend(InOneType())
