"""What an optimizer promises."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from attrs import frozen
from torch import Tensor, nn

from neobert.batch import SequenceLayout
from neobert.errors import UserError
from neobert.testing.context import as_options, build, make_sequences, text_context
from neobert.testing.encoder import AttentiveEncoder, TinyEncoder
from neobert.testing.promises import require, require_equal
from neobert.training.groups import group_parameters
from neobert.training.objective import Objective
from neobert.training.state import RunState, group_options

if TYPE_CHECKING:
    from neobert.context import ParameterGroup

_VOCABULARY = 20


def check_optimizer(options: Any) -> None:
    """Trains the parameters of tiny encoders and a head. Raises `AssertionError` for a broken promise.

    One encoder has only what every encoder has; an optimizer that needs more refuses it with `UserError`. The other
    has attention as its blocks' ``attend``, and says of its fused weights how they are divided. The learning rate must
    not be 0 in the options.
    """
    options = as_options(options)
    makes = [partial(_Setting.make, options, make) for make in (_plain_encoder, AttentiveEncoder)]
    for make in makes if _takes(makes[0]) else makes[1:]:
        _check_groups(make())
        _check_moves(make)
        _check_learning_rate(make)
        _check_decay(make)
        _check_missing_gradients(make)
        _check_resumes(make)


Make = Callable[[], "_Setting"]


@frozen
class _Setting:
    optimizer: torch.optim.Optimizer
    groups: tuple[ParameterGroup, ...]
    objective: Objective

    @classmethod
    def make(cls, options: Any, make_encoder: Callable[[], Any]) -> _Setting:
        """Fresh parameters of every role, always with the same values."""
        encoder = make_encoder()
        head = nn.Linear(encoder.hidden_size, _VOCABULARY)
        with torch.no_grad():
            head.weight.copy_(encoder.input_embedding.weight * 0.3)
            head.bias.fill_(0.1)
        groups = group_parameters(encoder, head)
        optimizer = build("optimizer", options, text_context(encoder=encoder, parameter_groups=groups))
        return cls(optimizer, groups, Objective(encoder, head))

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        return {name: p for group in self.groups for name, p in group.parameters.items()}

    def values(self) -> dict[str, Tensor]:
        return {name: parameter.detach().clone() for name, parameter in self.parameters.items()}

    def set_gradients(self, step: int, scale: float = 1.0) -> None:
        """After a forward pass and a backward pass, as in training: what an optimizer watches there, it sees."""
        ids = torch.cat(make_sequences((3, 5), seed=step)) % _VOCABULARY
        encoder = self.objective.encoder
        encoder(ids, SequenceLayout.from_lengths((3, 5))).square().sum().backward()
        for index, parameter in enumerate(self.parameters.values()):
            generator = torch.Generator().manual_seed(1000 * step + index)
            parameter.grad = torch.randn(parameter.shape, generator=generator) * scale

    def train(self, steps: range, before_step: Callable[[int], Any] = lambda step: None) -> dict[str, Tensor]:
        for step in steps:
            self.set_gradients(step)
            before_step(step)
            self.optimizer.step()
            self.optimizer.zero_grad()
        return self.values()


def _plain_encoder() -> TinyEncoder:
    return TinyEncoder(_VOCABULARY, dtype=torch.float32)


def _takes(make: Make) -> bool:
    try:
        make()
    except UserError:
        return False
    return True


def _check_groups(setting: _Setting) -> None:
    optimizer = setting.optimizer
    kind = isinstance(optimizer, torch.optim.Optimizer)
    require(kind, "an optimizer is a torch.optim.Optimizer", found=type(optimizer))
    held = [id(p) for group in optimizer.param_groups for p in group["params"]]
    missing = [name for name, p in setting.parameters.items() if held.count(id(p)) != 1]
    require(not missing, "every parameter of context.parameter_groups is in exactly one group", found=missing)
    known = {id(p) for p in setting.parameters.values()}
    require(set(held) == known, "an optimizer holds no other parameters", found=f"{len(set(held) - known)} others")
    wrong = [group for group in optimizer.param_groups if not isinstance(group.get("lr"), float)]
    require(not wrong, "every group has its learning rate, a float, as group['lr']", found=wrong)
    for options in group_options(optimizer):
        try:
            json.dumps(options)
        except TypeError:
            require(False, "a group's options are JSON values: checkpoints hold them", found=options)


def _check_moves(make: Make) -> None:
    setting = make()
    before, after = setting.values(), setting.train(range(3))
    still = [name for name in before if torch.equal(before[name], after[name])]
    require(not still, "an update moves every parameter that has a gradient", found=still)
    wrong = [name for name, value in after.items() if not bool(value.isfinite().all())]
    require(not wrong, "weights stay finite", found=wrong)
    again = make().train(range(3))
    for name, value in after.items():
        require_equal(again[name], value, f"the same gradients give the same updates ({name})")


def _check_learning_rate(make: Make) -> None:
    """The core sets ``group["lr"]`` before each step: that rate counts, and no other."""
    setting = make()
    rates = [group["lr"] for group in setting.optimizer.param_groups]
    for chosen, group in enumerate(setting.optimizer.param_groups):
        for index, other in enumerate(setting.optimizer.param_groups):
            other["lr"] = rates[index] if index == chosen else 0.0
        before, after = setting.values(), setting.train(range(chosen, chosen + 1))
        mine = {id(parameter) for parameter in group["params"]}
        for name, parameter in setting.parameters.items():
            same = torch.equal(before[name], after[name])
            promise = "group['lr'] is the rate of its own parameters: at 0 nothing changes, else they move"
            expected = id(parameter) not in mine
            require(same == expected, promise, given=f"lr of group {chosen} alone over 0", found=name)


def _check_decay(make: Make) -> None:
    setting = make()
    before = setting.values()
    for _ in range(3):
        for parameter in setting.parameters.values():
            parameter.grad = torch.zeros_like(parameter)
        setting.optimizer.step()
    for group in setting.groups:
        for name, parameter in group.parameters.items():
            if not group.decay:
                promise = f"no weight decay where ParameterGroup.decay is False ({name})"
                require_equal(parameter.detach(), before[name], promise, given="gradients of 0")


def _check_missing_gradients(make: Make) -> None:
    setting = make()
    setting.train(range(1))
    before = setting.values()
    setting.optimizer.zero_grad()
    cleared = all(p.grad is None or not bool(p.grad.any()) for p in setting.parameters.values())
    require(cleared, "zero_grad clears every gradient")
    for parameter in setting.parameters.values():
        parameter.grad = None
    setting.optimizer.step()
    moved = [name for name, value in setting.values().items() if not torch.equal(value, before[name])]
    require(not moved, "a parameter without a gradient stays as it is", found=moved)


def _check_resumes(make: Make) -> None:
    """Stopped and taken up three times, training ends with the same bits as in one go."""
    ends = (2, 3, 6, 8)

    def schedule(setting: _Setting) -> Callable[[int], None]:
        rates = [group["lr"] for group in setting.optimizer.param_groups]

        def set_rates(step: int) -> None:
            for rate, group in zip(rates, setting.optimizer.param_groups, strict=True):
                group["lr"] = rate / (1 + step)

        return set_rates

    unbroken = make()
    expected = unbroken.train(range(ends[-1]), schedule(unbroken))
    setting, start = make(), 0
    for end in ends:
        setting.train(range(start, end), schedule(setting))
        setting, start = _resumed(make, setting), end
    for name, value in setting.values().items():
        promise = f"state_dict and load_state_dict carry all of the state ({name})"
        require_equal(value, expected[name], promise, given=f"resumed after steps {ends[:-1]}")


def _resumed(make: Make, old: _Setting) -> _Setting:
    """A fresh optimizer with the old one's weights and state, as a checkpoint carries them."""
    setting = make()
    initial = group_options(setting.optimizer)
    held = set(map(id, old.parameters.values()))
    for key, state in old.optimizer.state.items():
        require(id(key) in held, "`state` is kept by parameter", found=type(key))
        for name, value in state.items():
            kept = isinstance(name, str) and isinstance(value, Tensor | int | float | str | bool | None)
            require(kept, "a parameter's state is tensors and plain values", given=name, found=type(value))
    saved = RunState(old.objective, old.optimizer, old.groups, initial).collect()
    state = {key: v.clone() if isinstance(v, Tensor) else json.loads(json.dumps(v)) for key, v in saved.items()}
    RunState(setting.objective, setting.optimizer, setting.groups, initial).apply(state)
    return setting
