"""Schedules: against transformers where it has the same, and their bounds for any options."""

from __future__ import annotations

import pickle
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from neobert import BuildContext
from neobert_plugins.schedulers import Constant, Cosine, Linear, WarmupStableDecay

FALLING = [Cosine, Linear, WarmupStableDecay]


def build(options, max_steps: int):
    return options.build(
        BuildContext(
            seed=0,
            device=torch.device("cpu"),
            run_directory=Path("unused"),
            max_seq_length=8,
            max_steps=max_steps,
        )
    )


def check(options, max_steps: int) -> list[str]:
    return options.check(SimpleNamespace(trainer=SimpleNamespace(max_steps=max_steps)))


def theirs(name: str, **kwargs):
    """transformers' schedule as a function of the step."""
    from transformers import optimization

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    return getattr(optimization, f"get_{name}_with_warmup")(optimizer, **kwargs).lr_lambdas[0]


@pytest.mark.parametrize(
    ("options", "name", "kwargs"),
    [
        (
            Cosine(warmup_steps=10, final_lr_ratio=0.0),
            "cosine_schedule",
            {"num_warmup_steps": 10, "num_training_steps": 100},
        ),
        (
            Cosine(warmup_steps=10, final_lr_ratio=0.1),
            "cosine_with_min_lr_schedule",
            {"num_warmup_steps": 10, "num_training_steps": 100, "min_lr_rate": 0.1},
        ),
        (
            Linear(warmup_steps=10, final_lr_ratio=0.0),
            "linear_schedule",
            {"num_warmup_steps": 10, "num_training_steps": 100},
        ),
        (Constant(warmup_steps=10), "constant_schedule", {"num_warmup_steps": 10}),
    ],
    ids=["cosine", "cosine with a floor", "linear", "constant"],
)
def test_agrees_with_transformers_after_the_warm_up_and_is_one_step_ahead_during_it(options, name, kwargs):
    ours, reference = build(options, 100), theirs(name, **kwargs)
    for step in range(9):
        assert ours(step) == pytest.approx(reference(step + 1), abs=1e-12), step
    for step in range(10, 101):
        assert ours(step) == pytest.approx(reference(step), abs=1e-12), step


def test_wsd_agrees_with_transformers_linear_decay():
    from transformers.optimization import get_wsd_schedule

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    reference = get_wsd_schedule(
        optimizer,
        num_warmup_steps=10,
        num_decay_steps=30,
        num_training_steps=100,
        decay_type="linear",
        min_lr_ratio=0.25,
    ).lr_lambdas[0]
    ours = build(WarmupStableDecay(warmup_steps=10, decay_steps=30, final_lr_ratio=0.25), 100)
    for step in range(10, 110):
        assert ours(step) == pytest.approx(reference(step), abs=1e-12), step


def test_the_first_update_moves_and_the_warm_up_ends_at_the_base_rate():
    schedule = build(Cosine(warmup_steps=4), 10)
    assert [schedule(step) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert build(Cosine(), 10)(0) == 1.0


def test_wsd_holds_the_base_rate_until_its_last_fifth():
    schedule = build(WarmupStableDecay(warmup_percent=10.0, final_lr_ratio=0.0), 100)
    assert {schedule(step) for step in range(9, 81)} == {1.0}
    assert schedule(90) == pytest.approx(0.5)
    assert schedule(100) == 0.0


def test_a_decay_shorter_than_the_run_is_held_at_its_end():
    schedule = build(Linear(warmup_steps=10, decay_steps=40, final_lr_ratio=0.2), 100)
    assert schedule(30) == pytest.approx(0.6)
    assert {schedule(step) for step in range(50, 120)} == {0.2}


@pytest.mark.parametrize("kind", FALLING)
def test_the_percentage_wins_and_is_of_max_steps(kind):
    by_percent = build(kind(warmup_steps=77, warmup_percent=5.0, decay_steps=1, decay_percent=29.0), 100)
    by_steps = build(kind(warmup_steps=5, decay_steps=29), 100)
    assert by_percent == by_steps


@pytest.mark.parametrize("kind", FALLING)
def test_phases_longer_than_the_run_are_named(kind):
    (problem,) = check(kind(warmup_steps=60, decay_steps=50), 100)
    assert "60" in problem
    assert "110" in problem
    assert "max_steps is 100" in problem
    assert check(kind(warmup_steps=50, decay_steps=50), 100) == []
    assert check(kind(warmup_percent=33.4, decay_percent=66.6), 7) == []


def test_a_warm_up_longer_than_the_run_is_named():
    for options in (Constant(warmup_steps=11), Cosine(warmup_steps=11)):
        assert "max_steps is 10" in check(options, 10)[0]
    assert check(Constant(warmup_steps=10), 10) == []


def test_a_percentage_that_reads_like_a_fraction_is_questioned():
    (problem,) = check(Cosine(warmup_percent=0.06), 1000)
    assert "write 6" in problem


@pytest.mark.parametrize(
    "wrong",
    [
        {"warmup_steps": -1},
        {"warmup_percent": 101.0},
        {"decay_steps": 0},
        {"decay_percent": -1.0},
        {"final_lr_ratio": 1.5},
    ],
)
def test_values_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Cosine(**wrong)


def test_a_negative_step_is_refused():
    with pytest.raises(ValueError, match="already done"):
        build(Cosine(), 10)(-1)


percents = st.none() | st.floats(0, 100)


@given(
    kind=st.sampled_from(FALLING),
    max_steps=st.integers(1, 300),
    warmup_percent=percents,
    decay_percent=percents,
    final=st.floats(0, 1),
)
def test_rises_then_falls_within_its_bounds_and_is_pure(kind, max_steps, warmup_percent, decay_percent, final):
    options = kind(warmup_percent=warmup_percent, decay_percent=decay_percent, final_lr_ratio=final)
    schedule = build(options, max_steps)
    factors = [schedule(step) for step in range(max_steps + 5)]
    warmup = options.warmup(max_steps)
    assert all(0.0 <= factor <= 1.0 for factor in factors)
    assert factors[0] > 0.0 or (warmup == 0 and final == 0.0)
    rise, fall = factors[:warmup], factors[warmup:]
    assert rise == sorted(rise)
    assert fall == sorted(fall, reverse=True)
    assert all(factor >= final for factor in fall)
    again = pickle.loads(pickle.dumps(schedule))  # noqa: S301
    assert [again(step) for step in reversed(range(max_steps + 5))] == factors[::-1]
