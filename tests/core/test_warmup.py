"""What a warm-up says at a step is a function of the step, told in one sentence."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neobert.data.step_options import StepOptions
from neobert.parts import Part
from neobert.recipe.trainer import TrainerOptions
from neobert.warmup import LENGTH_MULTIPLE, WarmUp, batch_size_warmup, describe_warmups, length_warmup


def options_with(**keys: int) -> TrainerOptions:
    return TrainerOptions(export_attn_backend=Part(kind="attn_backend", name="eager", options=None), **keys)


@st.composite
def warmups(draw: st.DrawFn) -> WarmUp:
    start = draw(st.integers(1, 5000))
    full = draw(st.integers(start, start + draw(st.sampled_from([0, 3, 200, 100_000]))))
    return WarmUp(start, full, draw(st.integers(1, 400)), draw(st.sampled_from([1, 1, 7, 64])))


@settings(deadline=None)
@given(warmups(), st.integers(0, 500))
def test_a_straight_line_rounded_down(warmup: WarmUp, step: int) -> None:
    line = warmup.start + Fraction(warmup.full - warmup.start) * min(step, warmup.steps) / warmup.steps
    expected = line if step >= warmup.steps else max(line // warmup.multiple * warmup.multiple, warmup.start)
    assert warmup.at(step) == int(expected)
    assert type(warmup.at(step)) is int


@settings(deadline=None)
@given(warmups())
def test_it_only_grows_from_start_to_full(warmup: WarmUp) -> None:
    found = [warmup.at(step) for step in range(warmup.steps + 3)]
    assert found == sorted(found)
    assert found[0] == warmup.start
    assert set(found[warmup.steps :]) == {warmup.full}
    assert all(number in (warmup.start, warmup.full) or number % warmup.multiple == 0 for number in found)


@settings(deadline=None)
@given(warmups(), st.integers(0, 500), st.integers(0, 500))
def test_sums_of_steps(warmup: WarmUp, first: int, more: int) -> None:
    assert warmup.before(first) == sum(warmup.at(step) for step in range(first))
    options = StepOptions(
        per_device_train_batch_size=1,
        gradient_accumulation_steps=warmup.full,
        batch_size_warmup=warmup,
        world_size=3,
    )
    steps = range(first, first + more)
    assert options.in_steps(first, first + more) == sum(3 * options.micro_batches(step) for step in steps)


def test_without_one_every_step_is_whole() -> None:
    options = StepOptions(per_device_train_batch_size=1, gradient_accumulation_steps=4, world_size=2)
    assert {options.micro_batches(step) for step in range(9)} == {4}
    assert (options.in_step(0), options.in_steps(3, 5)) == (8, 16)
    assert {options.limit(step) for step in range(9)} == {None}


def test_the_keys_of_a_recipe() -> None:
    plain = options_with()
    assert batch_size_warmup(plain) is None
    assert length_warmup(plain, 512) is None
    assert list(describe_warmups(plain, 512)) == []
    options = options_with(batch_size_warmup_steps=8, gradient_accumulation_steps=4, length_warmup_steps=10)
    assert batch_size_warmup(options) == WarmUp(1, 4, 8)
    assert length_warmup(options, 512) == WarmUp(128, 512, 10, LENGTH_MULTIPLE)
    assert [length_warmup(options, 512).at(step) for step in range(12)] == [
        128, 128, 192, 192, 256, 320, 320, 384, 384, 448, 512, 512,
    ]  # fmt: skip
    said = options_with(
        batch_size_warmup_steps=8, batch_size_warmup_start=2, length_warmup_steps=10, length_warmup_start=100
    )
    assert batch_size_warmup(said).start == 2
    assert length_warmup(said, 512).start == 100


@pytest.mark.parametrize(("max_steps", "end"), [(50, ""), (8, "; the run ends before, at 3 (trainer.max_steps = 8)")])
def test_in_words(max_steps: int, end: str) -> None:
    options = options_with(
        batch_size_warmup_steps=8, gradient_accumulation_steps=4, length_warmup_steps=5, max_steps=max_steps
    )
    assert list(describe_warmups(options, 1024)) == [
        ("batch-size warm-up", f"1 micro-batch a step at step 0, 4 from step 8 on{end}"),
        ("length warm-up", "128 tokens a sequence at step 0, 1,024 from step 5 on"),
    ]
