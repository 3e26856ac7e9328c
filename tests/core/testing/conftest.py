"""Parts are made from a runtime object: what a broken plugin's options would build."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread():
    """Tensors here are tiny: more threads would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def options_for():
    """``options_for(make, **class_attributes)``: options whose ``build(context)`` is ``make(context)``."""

    def options_for(make, **attributes):
        def build(self, context):
            return make(context)

        return type("Options", (), {"build": build, **attributes})()

    return options_for


@pytest.fixture
def notices():
    """``notices(check, options, words)``: the suite raises AssertionError, and says which promise broke."""

    def notices(check, options, words, **keywords):
        with pytest.raises(AssertionError) as caught:
            check(options, **keywords)
        promise = str(caught.value).splitlines()[0]
        assert words in promise, str(caught.value)

    return notices
