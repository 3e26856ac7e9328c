from __future__ import annotations

import logging

import pytest
import torch

from neobert.capabilities import Target, capabilities_of
from neobert.testing import make_context
from neobert_plugins.attention import AutoAttention, auto, sdpa

GPU = {"device": "cuda", "dtype": "bfloat16", "cuda_capability": (8, 0)}


@pytest.fixture
def missing(monkeypatch):
    """Says which requirements are not met."""

    def say(*names):
        class Item:
            def __init__(self, requirement):
                self.reason = f"needs {requirement}"

        def unmet(requires):
            return [Item(text) for text in requires if text.startswith(names)] if names else []

        monkeypatch.setattr(auto, "unmet", unmet)

    return say


@pytest.mark.parametrize(
    ("target", "absent", "chosen", "why"),
    [
        (GPU, (), "flash_attn_varlen", "the first choice on cuda in bfloat16"),
        (GPU, ("flash-attn",), "varlen", "flash_attn_varlen needs flash-attn>=2.7"),
        (GPU, ("flash-attn", "torch"), "sdpa", "flash_attn_varlen needs flash-attn>=2.7; varlen needs torch>=2.12"),
        ({**GPU, "dtype": "float32"}, (), "sdpa", "trainer.mixed_precision asks for float32"),
        ({**GPU, "cuda_capability": (7, 5)}, (), "sdpa", "compute capability 8.0, and this one has 7.5"),
        ({"device": "cpu"}, (), "sdpa", "varlen runs on cuda, and this run is on cpu"),
        ({"device": "mps"}, (), "sdpa", "this run is on mps"),
        ({"device": "meta"}, (), "sdpa", "this run is on meta"),
    ],
)
def test_what_is_chosen_and_why(missing, target, absent, chosen, why):
    missing(*absent)
    choice = AutoAttention().choose(Target(**target))
    assert choice.name == chosen
    assert why in choice.why
    assert "\n" not in choice.why
    assert capabilities_of(AutoAttention(), Target(**target)) == choice.options.capabilities


def test_it_promises_no_more_than_all_that_it_may_choose():
    stated = AutoAttention.capabilities
    for options_class in auto.ORDER.values():
        assert options_class.capabilities.window or not stated.window
        assert options_class.capabilities.dropout or not stated.dropout


def test_the_choice_is_said_in_one_line(caplog):
    caplog.set_level(logging.INFO, logger="neobert")
    backend = AutoAttention().build(make_context())
    assert getattr(backend, "__wrapped__", backend) is sdpa.attend
    (line,) = caplog.messages
    assert line.startswith('attn_backend "auto" is "sdpa" in this run: flash_attn_varlen needs ')
    AutoAttention().build(make_context(device=torch.device("meta")))
    assert caplog.messages == [line]
