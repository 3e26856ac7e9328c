"""Conformance suites: what a part of each kind promises, as functions that anyone runs on their own plugin.

Each takes an options instance, or an options class where its defaults will do, builds the part as the core
does, and raises `AssertionError` with the promise that is broken, the input it broke with and what was seen.
They need no test framework. (A part that cannot run on this machine raises `unittest.SkipTest`, which pytest
reports as skipped.)

    from neobert.testing import check_attn_backend
    from their_package.plugin import WindowAttention

    def test_window_attention():
        check_attn_backend(WindowAttention(window=8))
"""

from __future__ import annotations

from neobert.testing.attention import check_attn_backend
from neobert.testing.checkpointer import check_checkpointer
from neobert.testing.collator import check_datacollator
from neobert.testing.context import make_context, make_tokenizer
from neobert.testing.dataset import check_dataset
from neobert.testing.encoder import TinyEncoder
from neobert.testing.loss import check_loss
from neobert.testing.model import check_model
from neobert.testing.optimizer import check_optimizer
from neobert.testing.scheduler import check_scheduler
from neobert.testing.tokenizer import check_tokenizer
from neobert.testing.tracker import check_tracker

__all__ = [
    "TinyEncoder",
    "check_attn_backend",
    "check_checkpointer",
    "check_datacollator",
    "check_dataset",
    "check_loss",
    "check_model",
    "check_optimizer",
    "check_scheduler",
    "check_tokenizer",
    "check_tracker",
    "make_context",
    "make_tokenizer",
]
