from types import SimpleNamespace

import pytest
from neobert.testing import check_scheduler, make_context

from plugin_package.plugin import PluginOptions


@pytest.mark.parametrize("options", [{}, {"warmup_steps": 100}, {"cycles": 1, "final_lr_ratio": 0.1}])
def test_it_keeps_its_promises(options):
    check_scheduler(PluginOptions(**options))


def test_some_factors_by_hand():
    options = PluginOptions(warmup_steps=10, cycles=2, peak_decay=0.5, final_lr_ratio=0.2)
    schedule = options.build(make_context(max_steps=110))
    assert [schedule(step) for step in (0, 4, 9)] == pytest.approx([0.1, 0.5, 1.0])
    assert [schedule(step) for step in (10, 35)] == pytest.approx([1.0, 0.6])  # the peak, and half-way down
    assert [schedule(step) for step in (60, 85, 110)] == pytest.approx([0.5, 0.3, 0.1])


def test_what_does_not_fit_is_told_by_check():
    recipe = SimpleNamespace(trainer=SimpleNamespace(max_steps=5))
    assert PluginOptions().check(recipe) == []
    assert "max_steps = 5" in PluginOptions(warmup_steps=2).check(recipe)[0]
