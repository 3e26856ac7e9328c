"""Which objective a step is of: a function of (seed, step) that keeps to its probabilities."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neobert.data import Turns
from neobert.data.step_options import StepOptions
from neobert.warmup import WarmUp

PROBABILITIES = {"mlm": 0.3, "pairs": 0.5, "simcse": 0.2}


@given(st.integers(0, 2**31), st.integers(0, 2000))
def test_a_steps_objective_depends_on_nothing_else(seed: int, step: int) -> None:
    whole = [Turns(PROBABILITIES, seed).at(number) for number in range(step, step + 5)]
    assert whole == [Turns(dict(PROBABILITIES), seed).at(number) for number in range(step, step + 5)]


def test_shares_are_the_probabilities() -> None:
    counts = Counter(Turns(PROBABILITIES, 0).at(step) for step in range(20_000))
    for name, probability in PROBABILITIES.items():
        assert counts[name] / 20_000 == pytest.approx(probability, abs=0.012)


def test_another_seed_draws_another_order() -> None:
    first, second = ([Turns(PROBABILITIES, seed).at(step) for step in range(50)] for seed in (1, 2))
    assert first != second


def test_every_step_is_one_objectives() -> None:
    turns = Turns(PROBABILITIES, 7)
    steps = {name: list(islice(turns.of(name).steps(3), 40)) for name in PROBABILITIES}
    together = sorted(step for own in steps.values() for step in own)
    last = min(own[-1] for own in steps.values())
    assert [step for step in together if step <= last] == list(range(3, last + 1))


def test_a_sum_that_rounding_left_under_one_still_draws() -> None:
    assert {Turns({"a": 1e-12, "b": 1e-12}, 0).at(step) for step in range(20)} == {"b"}


def test_micro_batches_of_an_objectives_steps() -> None:
    turn = Turns(PROBABILITIES, 3).of("pairs")
    options = StepOptions(
        per_device_train_batch_size=1, gradient_accumulation_steps=8, batch_size_warmup=WarmUp(1, 8, 20), turn=turn
    )
    own = list(islice(turn.steps(0), 30))
    wanted = sum(options.in_step(step) for step in own if step < 30)
    assert options.in_steps(0, 30) == wanted
    assert options.in_steps(10, 30) == sum(options.in_step(step) for step in own if 10 <= step < 30)
