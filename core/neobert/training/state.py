"""All tensors of a run under flat dotted keys, for a checkpointer to write and to fill.

Optimizer state goes by parameter name, never by position: a reordered group cannot swap two parameters' moments.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from attrs import frozen
from torch import Tensor, nn

from neobert.context import ParameterGroup
from neobert.shards import any_sharded, shard_as
from neobert.training.average import WeightAverage
from neobert.training.state_layout import AVERAGE, OPTIMIZER, fill_template, parameter_of

UPDATES_KEY = f"{AVERAGE}updates"
GROUPS_KEY = f"{OPTIMIZER}param_groups"


@frozen(eq=False)
class RunState:
    """What a run's tensors are, as one flat dict, and back."""

    objective: nn.Module
    optimizer: torch.optim.Optimizer
    groups: tuple[ParameterGroup, ...]
    initial_groups: list[dict[str, Any]]
    """The optimizer's group options as the recipe made them, before any step."""
    average: WeightAverage | None = None

    @property
    def is_sharded(self) -> bool:
        """Whether this process has a part of the weights, and of what goes with them."""
        return any_sharded(self.objective.parameters())

    def collect(self) -> dict[str, Any]:
        """``encoder.*`` and ``loss.*``, ``optimizer.PARAMETER.KEY``, the groups' options as JSON, ``ema.PARAMETER``.

        In parts where the weights are."""
        state: dict[str, Any] = dict(self.objective.state_dict())
        packed = self.optimizer.state_dict()
        names = self._names()
        for index, values in sorted(packed["state"].items()):
            for key, value in values.items():
                state[f"{OPTIMIZER}{names[index]}.{key}"] = value
        state[GROUPS_KEY] = {"initial": self.initial_groups, "current": group_options(self.optimizer)}
        if self.average is not None:
            state |= {f"{AVERAGE}{name}": value for name, value in self.average.state().items()}
            state[UPDATES_KEY] = self.average.updates
        return state

    def template(self, layout: Mapping[str, Any], device: torch.device, *, in_parts: bool) -> dict[str, Any]:
        """What a checkpointer fills: keys, shapes and dtypes of a saved state, of whose optimizer ``layout`` is what
        `layout_of` said. Of weights in parts: parts as well, or (not ``in_parts``) whole tensors on the host."""
        weights = self.objective.state_dict()
        if not self.is_sharded:
            return fill_template(weights, layout, device)
        if in_parts:
            return self._empty_parts(layout, device)
        shapes = {key: torch.empty(value.shape, dtype=value.dtype) for key, value in weights.items()}
        return fill_template(shapes, layout, torch.device("cpu"))

    def apply(self, state: Mapping[str, Any]) -> None:
        """Puts a loaded state into place. Every key is used, or it is an error; only an average may be on one side
        alone: one that this run has and the state lacks begins with the state's weights. Whole tensors do for weights
        in parts, too: the same on each process."""
        if self.is_sharded:
            state = self._in_parts(state)
        rest = dict(state)
        saved_groups = rest.pop(GROUPS_KEY)
        self.objective.load_state_dict(weights_of(rest), strict=True)
        self._apply_average(state)
        moments = {key: value for key, value in rest.items() if key.startswith(OPTIMIZER)}
        packed = self.optimizer.state_dict()
        packed["state"] = self._by_index(moments)
        for group, fresh, initial, saved in zip(
            packed["param_groups"], self.initial_groups, saved_groups["initial"], saved_groups["current"], strict=True
        ):
            _reset(group, fresh)
            group.update(_evolved(group, fresh, initial, saved))
        self.optimizer.load_state_dict(packed)
        self._keep_dtypes(packed["state"])

    def take_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Puts the weights of encoder and losses into place, the same whole tensors on each process."""
        self.objective.load_state_dict(self._in_parts(weights) if self.is_sharded else weights, strict=True)

    def _apply_average(self, state: Mapping[str, Any]) -> None:
        if self.average is None:
            return
        saved = averages_of(state)
        if saved:
            self.average.load(saved, state[UPDATES_KEY])
        else:
            self.average.begin()

    def _keep_dtypes(self, saved: Mapping[int, Mapping[str, Any]]) -> None:
        """Torch casts what it loads to the parameter's dtype: a moment of another one is put back as it was."""
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        for index, values in saved.items():
            loaded = self.optimizer.state[parameters[index]]
            for key, value in values.items():
                if isinstance(value, Tensor) and loaded[key].dtype != value.dtype:
                    loaded[key] = value

    def _by_index(self, moments: dict[str, Any]) -> dict[int, dict[str, Any]]:
        by_index: dict[int, dict[str, Any]] = {}
        # The longest name first, so that a parameter whose name begins another's takes only its own.
        for index, name in sorted(self._names().items(), key=lambda item: -len(item[1])):
            prefix = f"{OPTIMIZER}{name}."
            mine = [key for key in moments if key.startswith(prefix)]
            if mine:
                by_index[index] = {key.removeprefix(prefix): moments.pop(key) for key in mine}
        if moments:
            msg = f"optimizer state of unknown parameters: {', '.join(sorted(moments))}"
            raise ValueError(msg)
        return by_index

    def _in_parts(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """Each tensor as its parameter lies over the processes; one of another shape than that is whole on each."""
        like = dict(self.objective.named_parameters(remove_duplicate=False))
        found = {key: parameter_of(key, value, like) for key, value in state.items()}
        return {key: value if (p := found[key]) is None else shard_as(p, value) for key, value in state.items()}

    def _empty_parts(self, layout: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
        like = dict(self.objective.named_parameters(remove_duplicate=False))
        template = fill_template(self.objective.state_dict(), layout, device)
        for key, value in template.items():
            if (parameter := parameter_of(key, value, like)) is not None:
                template[key] = torch.empty_like(parameter.detach(), dtype=value.dtype)
        return template

    def _names(self) -> dict[int, str]:
        """Position in the optimizer -> the parameter's name."""
        names = {id(p): name for group in self.groups for name, p in group.parameters.items()}
        ordered = (p for group in self.optimizer.param_groups for p in group["params"])
        return {index: names[id(p)] for index, p in enumerate(ordered)}


def weights_of(state: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a state that is the model's and the loss's."""
    return {key: value for key, value in state.items() if not key.startswith((OPTIMIZER, AVERAGE))}


def averages_of(state: Mapping[str, Any]) -> dict[str, Any]:
    """Parameter name -> its averaged weights; empty where a state has none."""
    found = {key.removeprefix(AVERAGE): value for key, value in state.items() if key.startswith(AVERAGE)}
    found.pop(UPDATES_KEY.removeprefix(AVERAGE), None)
    return found


def group_options(optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
    """Each group's options as JSON values, the learning rate of the moment left out: a schedule makes that."""
    return [{key: _plain(group[key]) for key in group_keys(group)} for group in optimizer.param_groups]


def group_keys(group: Mapping[str, Any]) -> list[str]:
    """The options of a group that are the optimizer's state."""
    return [key for key in group if key not in ("params", "param_names", "lr")]


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return value.tolist() if isinstance(value, Tensor) else value


def _like(value: Any, fresh: Any) -> Any:
    """A JSON value as the type that the optimizer keeps it in."""
    if isinstance(fresh, Tensor):
        return torch.tensor(value, dtype=fresh.dtype, device=fresh.device)
    return tuple(value) if isinstance(fresh, tuple) else value


def _reset(group: dict[str, Any], fresh: Mapping[str, Any]) -> None:
    """Options as they were before any step: this optimizer may have done some, and the state be an earlier one's."""
    for key in group_keys(group):
        if key in fresh:
            group[key] = _like(fresh[key], group[key])
        else:
            del group[key]


def _evolved(
    group: Mapping[str, Any], fresh: Mapping[str, Any], initial: Mapping[str, Any], saved: Mapping[str, Any]
) -> dict[str, Any]:
    """Saved values, except where this recipe (``fresh``) says another one than the checkpoint's did (``initial``): what
    it says is meant.

    What neither says is the optimizer's own, added while it ran.
    """
    return {key: _like(value, group.get(key)) for key, value in saved.items() if fresh.get(key) == initial.get(key)}
