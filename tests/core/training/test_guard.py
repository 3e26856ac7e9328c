"""What the guard takes for a spike, and what it remembers."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neobert.interfaces import LossOutput
from neobert.recipe.stability import GuardOptions
from neobert.training.guard import GuardState, Reading, range_of_losses, range_of_norms, read_step

OPTIONS = GuardOptions(action="skip", threshold=6.0, window=20)
NAN, INF = math.nan, math.inf


def after(losses: list[float], norms: list[float], options: GuardOptions = OPTIONS) -> GuardState:
    state = GuardState()
    for loss, norm in zip(losses, norms, strict=True):
        state.accept(Reading(norm, loss, 10.0), options)
    return state


def usual(steps: int = 40) -> GuardState:
    rng = np.random.default_rng(0)
    return after(list(rng.normal(3.0, 0.1, steps)), list(np.exp(rng.normal(0.0, 0.2, steps))))


def test_a_step_is_read_as_the_mean_over_all_its_items() -> None:
    outputs = [
        LossOutput(torch.tensor(total, dtype=torch.float32), torch.tensor(count))
        for total, count in ((6.0, 2), (3.0, 1))
    ]
    assert read_step(torch.tensor(0.5), outputs, torch.tensor(3)) == Reading(norm=0.5, loss=3.0, count=3.0)
    nothing = [LossOutput(torch.tensor(0.0), torch.tensor(0))]
    assert read_step(torch.tensor(0.0), nothing, torch.tensor(0)) == Reading(norm=0.0, loss=0.0, count=0.0)


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (Reading(NAN, INF, 5.0), "the gradient is not finite (norm nan, loss inf)"),
        (Reading(INF, 3.0, 5.0), "the gradient is not finite (norm inf, loss 3)"),
        (Reading(1.0, NAN, 5.0), "the loss is not finite (nan)"),
        (Reading(1.0, -INF, 5.0), "the loss is not finite (-inf)"),
    ],
)
@pytest.mark.parametrize("options", [OPTIONS, GuardOptions()])
def test_what_is_not_finite_is_a_fault_from_the_first_step_on(step: Reading, said: str, options: GuardOptions) -> None:
    assert GuardState().fault(step, options) == said


def test_spikes_are_judged_upwards_and_each_on_its_own() -> None:
    state = usual()
    assert state.fault(Reading(1.0, 3.0, 5.0), OPTIONS) is None
    assert state.fault(Reading(1e-9, -50.0, 5.0), OPTIONS) is None
    loss, norm = state.fault(Reading(1.0, 9.0, 5.0), OPTIONS), state.fault(Reading(40.0, 3.0, 5.0), OPTIONS)
    assert loss is not None
    assert loss.startswith("the loss spikes: 9, where 3.")
    assert norm is not None
    assert norm.startswith("the gradient norm spikes: 40, where ")
    assert "the most that 20 steps before it make likely" in norm


def test_the_ranges_are_those_of_numpy() -> None:
    state = usual()
    losses, norms = range_of_losses(state.recent[""].losses, OPTIONS), range_of_norms(state.recent[""].norms, OPTIONS)
    assert losses is not None
    assert norms is not None
    found = (losses.middle, losses.most, math.log(norms.middle), math.log(norms.most))
    expected: list[float] = []
    for values in (np.array(state.recent[""].losses), np.log(state.recent[""].norms)):
        assert len(values) == 20
        middle = np.median(values)
        expected += [middle, middle + 6.0 * 1.4826 * np.median(np.abs(values - middle))]
    assert found == pytest.approx(expected)


def test_nothing_is_judged_before_the_window_is_full_nor_without_a_threshold() -> None:
    spike = Reading(1e6, 1e6, 5.0)
    assert usual(19).fault(spike, OPTIONS) is None
    assert usual(20).fault(spike, OPTIONS) is not None
    assert usual().fault(spike, GuardOptions(action="skip")) is None
    assert after([3.0] * 9, [1.0] * 9, GuardOptions()).recent[""].losses == []


def test_a_step_without_items_is_neither_judged_nor_remembered() -> None:
    state = usual()
    before = state.to_json()
    empty = Reading(0.0, 0.0, 0.0)
    assert state.fault(empty, OPTIONS) is None
    state.accept(empty, OPTIONS)
    assert state.to_json() == before
    # A gradient of zero has no logarithm.
    state.accept(Reading(0.0, 3.0, 5.0), OPTIONS)
    assert (state.recent[""].losses[-1], state.recent[""].norms) == (3.0, before["recent"][""]["norms"])


def test_steps_that_are_all_alike_make_no_trifle_a_spike() -> None:
    state = after([2.0] * 20, [1.0] * 20)
    assert state.fault(Reading(1.05, 2.1, 5.0), OPTIONS) is None
    assert state.fault(Reading(1.07, 2.0, 5.0), OPTIONS) is not None
    assert state.fault(Reading(1.0, 2.13, 5.0), OPTIONS) is not None


def test_the_window_holds_accepted_steps_only_and_a_smaller_one_takes_the_last() -> None:
    state = after([float(step) for step in range(30)], [1.0 + step for step in range(30)])
    assert state.recent[""].losses == [float(step) for step in range(10, 30)]
    smaller = range_of_losses(state.recent[""].losses, GuardOptions(action="skip", threshold=6.0, window=10))
    assert smaller is not None
    assert smaller.middle == 24.5
    assert range_of_losses(state.recent[""].losses, GuardOptions(action="skip", threshold=6.0, window=21)) is None


FLOATS = st.floats(1e-3, 1e3)


@settings(max_examples=60, deadline=None)
@given(st.lists(FLOATS, min_size=10, max_size=10), st.floats(0.5, 20.0), FLOATS, st.randoms())
def test_a_range_knows_no_order_and_moves_with_what_it_is_of(
    values: list[float], threshold: float, by: float, random: object
) -> None:
    options = GuardOptions(action="skip", threshold=threshold, window=10)
    norms, losses = range_of_norms(values, options), range_of_losses(values, options)
    assert norms is not None
    assert losses is not None
    assert losses.most >= losses.middle
    shuffled = list(values)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert range_of_losses(shuffled, options) == losses
    scaled = range_of_norms([value * by for value in values], options)
    assert scaled is not None
    assert scaled.most == pytest.approx(norms.most * by, rel=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0.0, 5.0), min_size=10, max_size=10), st.lists(st.floats(1e3, 1e300), min_size=4, max_size=4))
def test_a_few_large_steps_that_were_accepted_hardly_widen_it(values: list[float], large: list[float]) -> None:
    options = GuardOptions(action="skip", threshold=6.0, window=10)
    widened = range_of_losses([*values[4:], *large], options)
    assert widened is not None
    assert widened.most <= 5.0 + 6.0 * 1.4826 * 5.0


def test_it_comes_back_from_json_as_it_was() -> None:
    state = usual()
    state.in_a_row, state.skipped, state.rollbacks = 2, [7, 9], [{"step": 9, "to": 4, "reason": "the loss"}]
    assert GuardState.from_json(json.loads(json.dumps(state.to_json()))) == state
    assert GuardState.from_json({}) == GuardState()
    assert (state.times_back_to(4), state.times_back_to(8)) == (1, 0)
