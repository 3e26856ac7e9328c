"""The moving average of the weights: what it is, that the run beside it is none the wiser, and where it goes."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.core.training.conftest import Killed, Poison
from torch import nn

from neobert.errors import UserError
from neobert.recipe.stability import EmaOptions
from neobert.training.average import WeightAverage
from neobert.training.export_checkpoint import export_checkpoint

Run = Callable[..., tuple[int, str]]
EMA = "--trainer.ema.decay=0.9"
LATEST = "--trainer.resume_from_checkpoint=latest"
TIMED = ("train/tokens_per_second", "train/data_wait_share")


def folder(name: str) -> str:
    return f"--trainer.output_dir={name}"


def lines_of(run: str) -> list[dict[str, Any]]:
    lines = map(json.loads, Path(run, "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    return [{key: value for key, value in line.items() if key not in TIMED} for line in lines]


def state_of(run: str, step: int = 6) -> dict[str, torch.Tensor]:
    return load_file(f"{run}/checkpoints/{step}/state.safetensors")


def values_of(run: str, step: int = 6) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(run, "checkpoints", str(step), "state.json").read_text())
    return found


def assert_equal(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


class Model(nn.Module):
    """A tied weight, a frozen one, one of half precision, and a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.tied = nn.Linear(4, 4), nn.Linear(4, 4)
        self.tied.weight = self.first.weight
        self.frozen = nn.Parameter(torch.ones(3), requires_grad=False)
        self.narrow = nn.Parameter(torch.ones(5, dtype=torch.bfloat16))
        self.register_buffer("buffer", torch.zeros(2))


@torch.no_grad()
def change(model: Model, step: int) -> None:
    torch.manual_seed(step)
    for weight in model.parameters():
        if weight.requires_grad:
            weight.add_(torch.randn(weight.shape).to(weight.dtype) * 0.1)


@pytest.mark.parametrize(("decay", "warmup"), [(0.9, True), (0.9, False), (0.15, True), (0.999, True)])
def test_it_is_what_a_plain_loop_computes(decay: float, warmup: bool) -> None:
    model = Model()
    average = WeightAverage(model, EmaOptions(decay=decay, warmup=warmup))
    names = ["first.weight", "first.bias", "tied.bias", "narrow"]
    plain = {name: weight.detach().double() for name, weight in model.named_parameters() if name in names}
    for step in range(30):
        change(model, step)
        average.update()
        share = min(decay, (1 + step) / (10 + step)) if warmup else decay
        for name, weight in model.named_parameters():
            if name in names:
                plain[name] = share * plain[name] + (1 - share) * weight.detach().double()
    found = average.state()
    assert sorted(found) == sorted(names)
    for name, value in plain.items():
        assert found[name].dtype == torch.float32
        torch.testing.assert_close(found[name].double(), value, rtol=1e-5, atol=1e-7)


def test_in_place_gives_every_weight_back_however_it_ends() -> None:
    model = Model()
    average = WeightAverage(model, EmaOptions(decay=0.5))
    change(model, 0)
    average.update()
    before = {name: (weight, weight.data_ptr(), weight.clone()) for name, weight in model.named_parameters()}
    averages = {name: value.clone() for name, value in average.state().items()}
    with suppress(RuntimeError), average.in_place():
        for name, value in averages.items():
            assert torch.equal(dict(model.named_parameters())[name], value.to(before[name][0].dtype))
        assert torch.equal(model.tied.weight, averages["first.weight"])
        raise RuntimeError
    for name, weight in model.named_parameters():
        same, place, value = before[name]
        assert weight is same
        assert weight.data_ptr() == place
        assert torch.equal(weight, value)
    assert_equal(average.state(), averages)


def test_an_average_of_other_weights_is_refused_by_name() -> None:
    average = WeightAverage(Model(), EmaOptions())
    saved = average.state()
    saved["another"] = saved.pop("narrow")
    with pytest.raises(ValueError, match="only one of the two has another, narrow"):
        average.load(saved, 3)


def test_the_run_beside_it_has_the_same_bits(go: Run) -> None:
    common = ("--trainer.eval_steps=2", "--trainer.save_steps=3")
    assert go(folder("without"), *common)[0] == 0
    status, said = go(folder("with"), EMA, *common)
    assert status == 0
    for step in (3, 6):
        state = {name: value for name, value in state_of("with", step).items() if not name.startswith("ema.")}
        assert_equal(state, state_of("without", step))
        model = f"model_checkpoints/{step}/model.safetensors"
        assert Path("with", model).read_bytes() == Path("without", model).read_bytes()
    lines = [{key: value for key, value in line.items() if "/ema/" not in key} for line in lines_of("with")]
    assert lines == lines_of("without")
    held_out = [(line["step"], "eval/ema/loss" in line) for line in lines_of("with") if "eval/loss" in line]
    assert held_out == [(0, False), (2, True), (4, True), (6, True)]
    # Nor is what it evaluates the trained weights, or what came first.
    last = lines_of("with")[-1]
    assert last["eval/ema/loss"] not in (last["eval/loss"], lines_of("with")[0]["eval/loss"])
    assert f"held-out of the averaged weights loss {last['eval/ema/loss']:.4f}" in said
    assert "│ averaged   │" in said
    summary = json.loads(Path("with/summary.json").read_text())
    assert summary["evaluations"]["averaged"]["loss"] == last["eval/ema/loss"]
    assert values_of("with")["ema.updates"] == 6


def test_what_is_saved_is_the_average_of_what_was_trained(go: Run) -> None:
    assert go("--trainer.save_steps=1", EMA)[0] == 0
    first = state_of("run", 1)
    names = [name.removeprefix("ema.") for name in first if name.startswith("ema.")]
    assert names
    # After the first update a tenth is what was there before, so that the start can be had back.
    plain = {name: (first[f"ema.{name}"].double() - 0.9 * first[name].double()) / 0.1 for name in names}
    for step in range(1, 7):
        state, share = state_of("run", step), min(0.9, step / (9 + step))
        for name in names:
            plain[name] = share * plain[name] + (1 - share) * state[name].double()
            torch.testing.assert_close(state[f"ema.{name}"].double(), plain[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kill_at", [2, 4, 6])
def test_it_goes_on_bit_for_bit(go: Run, poison: Poison, kill_at: int) -> None:
    common = ("--trainer.save_steps=2", "--trainer.eval_steps=2", EMA)
    assert go(folder("whole"), *common)[0] == 0
    poison.reset(kill_at=kill_at)
    with pytest.raises(Killed):
        go(*common)
    poison.reset()
    assert go(*common, LATEST)[0] == 0
    assert_equal(state_of("run"), state_of("whole"))
    assert values_of("run") == values_of("whole")
    assert lines_of("run") == lines_of("whole")
    model = "ema_model_checkpoints/6/model.safetensors"
    assert Path("run", model).read_bytes() == Path("whole", model).read_bytes()


def test_a_step_that_is_skipped_does_not_count(go: Run, poison: Poison) -> None:
    assert go(folder("sound"))[0] == 0
    poison.bad = {poison.places[4]: ("loss", float("nan"))}
    assert go("--trainer.save_steps=1", "--trainer.guard.action=skip", EMA)[0] == 0
    assert_equal(state_of("run", 4), state_of("run", 3))
    assert [values_of("run", step)["ema.updates"] for step in (3, 4, 5)] == [3, 3, 4]


def test_a_rollback_takes_it_back(go: Run, poison: Poison) -> None:
    assert go(folder("sound"))[0] == 0
    poison.bad = {poison.places[4]: ("loss", float("nan"))}
    guard = ("--trainer.save_steps=2", "--trainer.guard.action=rollback", EMA)
    assert go(folder("whole"), *guard)[0] == 0
    assert values_of("whole")["ema.updates"] == 6
    poison.reset(kill_at=6)
    with pytest.raises(Killed):
        go(*guard)
    poison.reset()
    assert go(*guard, LATEST)[0] == 0
    assert_equal(state_of("run"), state_of("whole"))


def test_its_export_opens_and_is_another_model(go: Run) -> None:
    from transformers import AutoModelForMaskedLM

    status, said = go("--trainer.save_steps=2", "--trainer.save_total_limit=2", EMA)
    assert status == 0
    assert "  averaged     run/ema_model_checkpoints/6" in said
    models = []
    for kind in ("model_checkpoints", "ema_model_checkpoints"):
        assert sorted(path.name for path in Path("run", kind).iterdir()) == ["4", "6"]
        model, info = AutoModelForMaskedLM.from_pretrained(Path("run", kind, "6"), output_loading_info=True)
        assert not any(info.values())
        models.append(model)
    ids = torch.arange(5, 15)[None]
    with torch.no_grad():
        trained, averaged = (model(input_ids=ids).logits for model in models)
    assert torch.isfinite(averaged).all()
    assert not torch.allclose(trained, averaged, atol=1e-3)
    # Going on from an earlier step takes the newer ones away with the rest.
    go("--trainer.save_steps=2", EMA, "--trainer.resume_from_checkpoint=4", "--trainer.max_steps=5")
    assert Path("run/superseded/001/ema_model_checkpoints/6").is_dir()


def test_a_checkpoint_gives_either_later(go: Run) -> None:
    go("--trainer.max_steps=2", EMA)
    assert "exported the averaged weights of step 2 to later" in export_checkpoint(
        Path("run/checkpoints/2"), Path("later"), averaged=True
    )
    export_checkpoint(Path("run/checkpoints/2"), Path("trained"))
    for name, kind in (("later", "ema_model_checkpoints"), ("trained", "model_checkpoints")):
        weights = Path("run", kind, "2", "model.safetensors").read_bytes()
        assert Path(name, "model.safetensors").read_bytes() == weights
    go("--trainer.max_steps=2", folder("without"))
    with pytest.raises(UserError, match=r"without/checkpoints/2 has no averaged weights: trainer\.ema was unset"):
        export_checkpoint(Path("without/checkpoints/2"), Path("later2"), averaged=True)


def test_a_run_starts_from_what_was_trained_or_from_the_average_by_its_folder(go: Run) -> None:
    go("--trainer.max_steps=2", EMA)
    losses = {line["step"]: line for line in lines_of("run") if "eval/loss" in line}[2]
    for number, (weights, key) in enumerate(
        {
            "run": "eval/loss",
            "run/checkpoints/2": "eval/loss",
            "run/model_checkpoints/2": "eval/loss",
            "run/ema_model_checkpoints/2": "eval/ema/loss",
        }.items()
    ):
        run = f"next{number}"
        go("--trainer.max_steps=2", "--trainer.save_steps=1", f"--model.weights={weights}", folder(run), EMA)
        assert lines_of(run)[0]["eval/loss"] == pytest.approx(losses[key], abs=1e-4)
        # The average begins with the weights that were loaded, not with those of before.
        start, state = load_file(f"{run}/checkpoints/1/state.safetensors"), state_of("run", 2)
        if key == "eval/loss":
            for name in (name for name in start if name.startswith("ema.")):
                raw = name.removeprefix("ema.")
                torch.testing.assert_close(start[name], 0.1 * state[raw] + 0.9 * start[raw], rtol=1e-4, atol=1e-5)


def test_it_may_begin_and_end_on_resuming(go: Run) -> None:
    go("--trainer.max_steps=2", folder("without"))
    status, said = go("--trainer.max_steps=3", EMA, "--trainer.resume_from_checkpoint=without/checkpoints/2")
    assert status == 0
    assert "the checkpoint has no average of the weights; it begins with those of step 2" in said
    before, after = state_of("without", 2), state_of("run", 3)
    for name in before:
        if f"ema.{name}" in after:
            torch.testing.assert_close(after[f"ema.{name}"], 0.1 * before[name] + 0.9 * after[name])
    status, said = go("--trainer.max_steps=4", LATEST)
    assert status == 0
    assert "trainer.ema is unset: the checkpoint's average of the weights is left behind" in said
    assert not any(name.startswith("ema.") for name in state_of("run", 4))
    assert "averaged" not in json.loads(Path("run/summary.json").read_text())["evaluations"]
