"""Schedules: against transformers where it has the same, and their bounds for any options."""

from __future__ import annotations

import math
import pickle
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from neobert import BuildContext
from neobert_plugins.schedulers import Constant, Cosine, InverseSquareRoot, Linear, WarmupStableDecay

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


@pytest.mark.parametrize("shape", ["linear", "cosine", "1-sqrt"])
def test_wsd_agrees_with_transformers_in_each_shape(shape):
    from transformers.optimization import get_wsd_schedule

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    reference = get_wsd_schedule(
        optimizer,
        num_warmup_steps=10,
        num_decay_steps=30,
        num_training_steps=100,
        decay_type=shape,
        min_lr_ratio=0.25,
    ).lr_lambdas[0]
    ours = build(
        WarmupStableDecay(warmup_steps=10, decay_steps=30, final_lr_ratio=0.25, decay_shape=shape),
        100,
    )
    for step in range(10, 110):
        assert ours(step) == pytest.approx(reference(step), abs=1e-12), step


def test_the_shapes_of_wsd_by_hand():
    def factor(shape: str, step: int) -> float:
        return build(WarmupStableDecay(decay_steps=16, final_lr_ratio=0.2, decay_shape=shape), 32)(step)

    for shape in ("linear", "cosine", "1-sqrt"):
        assert [factor(shape, step) for step in (0, 16, 32, 40)] == [1.0, 1.0, 0.2, 0.2]
    assert factor("linear", 20) == pytest.approx(0.2 + 0.8 * (1 - 4 / 16))
    assert factor("cosine", 20) == pytest.approx(0.2 + 0.8 * (1 + math.cos(math.pi / 4)) / 2)
    assert factor("1-sqrt", 20) == pytest.approx(0.2 + 0.8 * (1 - 0.5))


@pytest.mark.parametrize("timescale", [None, 40])
@pytest.mark.parametrize("warmup", [0, 10])
def test_inverse_sqrt_agrees_with_transformers(warmup, timescale):
    from transformers.optimization import get_inverse_sqrt_schedule

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    reference = get_inverse_sqrt_schedule(optimizer, num_warmup_steps=warmup, timescale=timescale).lr_lambdas[0]
    ours = build(InverseSquareRoot(warmup_steps=warmup, timescale=timescale), 100)
    for step in range(warmup - 1):
        assert ours(step) == pytest.approx(reference(step + 1), abs=1e-12), step
    for step in range(warmup, 300):
        assert ours(step) == pytest.approx(reference(step), abs=1e-12), step


def test_inverse_sqrt_is_the_root_of_warm_up_over_step_and_knows_no_end():
    schedule = build(InverseSquareRoot(warmup_steps=10), 20)
    assert [schedule(step) for step in (0, 9, 10, 40, 160)] == [0.1, 1.0, 1.0, 0.5, 0.25]
    assert schedule == build(InverseSquareRoot(warmup_steps=10), 2000)
    assert build(InverseSquareRoot(warmup_percent=50.0), 20) == schedule
    assert build(InverseSquareRoot(timescale=3), 20)(9) == 0.5
    assert build(InverseSquareRoot(), 20)(30_000) == 0.5


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
        {"timescale": 0},
    ],
)
def test_values_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        (InverseSquareRoot if "timescale" in wrong else Cosine)(**wrong)


def test_a_negative_step_is_refused():
    for options in (Cosine(), InverseSquareRoot()):
        with pytest.raises(ValueError, match="already done"):
            build(options, 10)(-1)


percents = st.none() | st.floats(0, 100)


@given(
    kind=st.sampled_from(FALLING),
    max_steps=st.integers(1, 300),
    warmup_percent=percents,
    decay_percent=percents,
    final=st.floats(0, 1),
    shape=st.sampled_from(["linear", "cosine", "1-sqrt"]),
)
def test_rises_then_falls_within_its_bounds_and_is_pure(kind, max_steps, warmup_percent, decay_percent, final, shape):
    more = {"decay_shape": shape} if kind is WarmupStableDecay else {}
    options = kind(warmup_percent=warmup_percent, decay_percent=decay_percent, final_lr_ratio=final, **more)
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


spans = st.integers(1, 60)


@settings(deadline=None)
@given(
    kind=st.sampled_from([*FALLING, Constant, InverseSquareRoot]),
    percents=st.tuples(percents, percents),
    steps=st.tuples(st.integers(0, 20), st.none() | st.integers(1, 30)),
    max_steps=st.tuples(spans, spans),
    done=spans,
)
@example(kind=Cosine, percents=(None, 2.0), steps=(0, None), max_steps=(1, 50), done=1)  # a fall of no steps
@example(kind=Cosine, percents=(20.0, None), steps=(0, None), max_steps=(1, 5), done=1)  # a rise of one step
def test_a_change_of_the_past_is_explained_exactly_when_there_is_one(kind, percents, steps, max_steps, done):
    """With equal options and another length of the run, for any steps done in the old one."""
    falls = kind in FALLING
    options = kind(
        warmup_steps=steps[0],
        warmup_percent=percents[0],
        **({"decay_steps": steps[1], "decay_percent": percents[1]} if falls else {}),
    )
    before, now = (build(options, length) for length in max_steps)
    done = min(done, *max_steps)
    differs = any(before(step) != now(step) for step in range(done))
    fits = all(not check(options, length) for length in max_steps)
    if fits:  # anything else is refused before it is run
        assert bool(options.explain_change(options, done, max_steps)) == differs
