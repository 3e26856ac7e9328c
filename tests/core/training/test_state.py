"""Optimizer state survives by name, whatever the order of groups, and a recipe's new value is meant."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import torch
from torch import nn

from neobert.context import ParameterGroup
from neobert.training.state import GROUPS_KEY, RunState, group_options
from neobert.training.state_layout import fill_template, layout_of


def _objective() -> nn.Module:
    torch.manual_seed(0)
    return nn.ModuleDict({"encoder": nn.Linear(3, 3), "loss": nn.Linear(3, 2, bias=False)})


def _make(objective: nn.Module, order: Callable[[list[str]], list[str]] = list, **options: float) -> RunState:
    named = dict(objective.named_parameters())
    groups = tuple(
        ParameterGroup(role="vector", decay=False, parameters={name: named[name]}) for name in order(list(named))
    )
    optimizer = torch.optim.AdamW([{"params": list(g.parameters.values())} for g in groups], lr=0.1, **options)
    return RunState(objective, optimizer, groups, group_options(optimizer))


def _step(run: RunState) -> None:
    torch.manual_seed(1)
    run.objective["loss"](run.objective["encoder"](torch.randn(5, 3))).square().sum().backward()
    run.optimizer.step()
    run.optimizer.zero_grad()


def _load(run: RunState, saved: dict[str, object]) -> None:
    template = fill_template(run.objective.state_dict(), layout_of(saved), torch.device("cpu"))
    assert template.keys() == saved.keys()
    run.apply(saved)


def test_a_restored_run_goes_on_bit_for_bit_whatever_the_order_of_groups() -> None:
    first = _make(_objective())
    _step(first)
    saved = {k: v.clone() if isinstance(v, torch.Tensor) else v for k, v in first.collect().items()}
    second = _make(_objective(), order=lambda names: names[::-1])
    _load(second, saved)
    _step(first)
    _step(second)
    for name, value in first.objective.state_dict().items():
        assert torch.equal(value, second.objective.state_dict()[name]), name


def test_group_options_evolve_unless_the_recipe_changed_them() -> None:
    first = _make(_objective(), weight_decay=0.1)
    _step(first)
    first.optimizer.param_groups[0]["eps"] = 1e-3  # as an optimizer that adapts its own options would
    saved = first.collect()
    same, changed = _make(_objective(), weight_decay=0.1), _make(_objective(), weight_decay=0.2, eps=1e-4)
    _load(same, saved)
    _load(changed, saved)
    assert same.optimizer.param_groups[0]["eps"] == 1e-3
    assert changed.optimizer.param_groups[0]["eps"] == 1e-4
    assert changed.optimizer.param_groups[0]["weight_decay"] == 0.2
    assert saved[GROUPS_KEY]["initial"][0]["eps"] == 1e-8


def test_every_key_is_used_or_it_is_an_error() -> None:
    run = _make(_objective())
    _step(run)
    saved = run.collect()
    with pytest.raises(ValueError, match="unknown parameters"):
        run.apply(saved | {"optimizer.nobody.exp_avg": torch.zeros(1)})
    with pytest.raises(RuntimeError, match=r"encoder\.weight"):
        run.apply({key: value for key, value in saved.items() if key != "encoder.weight"})
    with pytest.raises(RuntimeError, match=r"encoder\.more"):
        run.apply(saved | {"encoder.more": torch.zeros(1)})


class _Counting(torch.optim.Optimizer):
    """Keeps a tensor among its options, one more that it adds later, and moments wider than the parameters."""

    def __init__(self, parameters: list[nn.Parameter]) -> None:
        super().__init__(parameters, {"lr": 0.1, "scale": torch.ones(2, dtype=torch.float64), "betas": (0.5, 0.9)})

    @torch.no_grad()
    def step(self, closure: object = None) -> None:
        for group in self.param_groups:
            group["late"] = group.get("late", 0) + 1
            group["scale"] = group["scale"] * 0.9
            for parameter in group["params"]:
                state = self.state[parameter]
                state["wide"] = state.get("wide", 0.0) * 0.3 + parameter.grad.double()
                parameter.sub_((state["wide"] * group["scale"].prod() / group["late"]).float())


def _counting() -> RunState:
    objective = _objective()
    named = dict(objective.named_parameters())
    optimizer = _Counting(list(named.values()))
    groups = (ParameterGroup(role="vector", decay=False, parameters=named),)
    return RunState(objective, optimizer, groups, group_options(optimizer))


def test_options_that_an_optimizer_adds_and_moments_of_any_dtype_go_on_bit_for_bit() -> None:
    first, second = _counting(), _counting()
    _step(first)
    _step(first)
    saved = {k: v.clone() if isinstance(v, torch.Tensor) else v for k, v in first.collect().items()}
    _load(second, {**saved, GROUPS_KEY: json.loads(json.dumps(saved[GROUPS_KEY]))})
    assert list(second.collect()) == list(saved)
    assert second.optimizer.param_groups[0]["scale"].dtype == torch.float64
    _step(first)
    _step(second)
    for name, value in first.collect().items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, second.collect()[name]), name


def test_an_optimizer_that_went_on_goes_back_bit_for_bit() -> None:
    run, other = _counting(), _counting()
    _step(run)
    saved = {k: v.clone() if isinstance(v, torch.Tensor) else v for k, v in run.collect().items()}
    saved[GROUPS_KEY] = json.loads(json.dumps(saved[GROUPS_KEY]))
    for _ in range(3):
        _step(run)
        run.optimizer.param_groups[0]["later"] = 3  # an option that the state does not have
    _load(run, saved)
    _load(other, saved)
    assert "later" not in run.optimizer.param_groups[0]
    for _ in range(2):
        _step(run)
        _step(other)
    assert run.collect().keys() == other.collect().keys()
    for name, value in run.collect().items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, other.collect()[name]), name
        else:
            assert value == other.collect()[name]


def test_going_back_to_another_recipes_state_takes_what_this_recipe_says() -> None:
    old = _make(_objective(), eps=1e-6)
    _step(old)
    saved = old.collect()
    run = _make(_objective(), eps=1e-4)
    run.optimizer.param_groups[0]["eps"] = 1e-2  # adapted as it ran
    _load(run, saved)
    assert run.optimizer.param_groups[0]["eps"] == 1e-4
