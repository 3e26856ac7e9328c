"""check_optimizer passes plain optimizers and notices each way of being wrong."""

from __future__ import annotations

import pytest
import torch

from neobert import UserError
from neobert.testing import check_optimizer


def groups_of(context, decay=0.1):
    return [
        {"params": list(group.parameters.values()), "weight_decay": decay if group.decay else 0.0}
        for group in context.parameter_groups
    ]


def adamw(context):
    return torch.optim.AdamW(groups_of(context), lr=1e-2)


def sgd(context):
    return torch.optim.SGD(groups_of(context), lr=1e-2, momentum=0.9)


def decays_everything(context):
    return torch.optim.AdamW(context_parameters(context), lr=1e-2, weight_decay=0.1)


def context_parameters(context):
    return [p for group in context.parameter_groups for p in group.parameters.values()]


def forgets_vectors(context):
    return torch.optim.AdamW(
        [p for g in context.parameter_groups if g.role != "vector" for p in g.parameters.values()], lr=1e-2
    )


def holds_more(context):
    groups = [*groups_of(context), {"params": [torch.nn.Parameter(torch.ones(2))]}]
    return torch.optim.AdamW(groups, lr=1e-2)


class RemembersRate(torch.optim.AdamW):
    """Keeps the learning rate that it was made with."""

    def step(self, closure=None):
        rates = [group["lr"] for group in self.param_groups]
        for group in self.param_groups:
            group["lr"] = 1e-2
        super().step()
        for rate, group in zip(rates, self.param_groups, strict=True):
            group["lr"] = rate


class OneRate(torch.optim.AdamW):
    """Takes the first group's learning rate for all."""

    def step(self, closure=None):
        rates = [group["lr"] for group in self.param_groups]
        for group in self.param_groups:
            group["lr"] = rates[0]
        super().step()
        for rate, group in zip(rates, self.param_groups, strict=True):
            group["lr"] = rate


class HiddenCounter(torch.optim.SGD):
    """Its rate falls with a count that no state dict holds."""

    count = 0

    def step(self, closure=None):
        self.count += 1
        rates = [group["lr"] for group in self.param_groups]
        for group in self.param_groups:
            group["lr"] /= self.count
        super().step()
        for rate, group in zip(rates, self.param_groups, strict=True):
            group["lr"] = rate


class HiddenMoments(torch.optim.SGD):
    """Keeps its momentum outside `state`."""

    def step(self, closure=None):
        if not hasattr(self, "moments"):
            self.moments = {}
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self.moments[p] = self.moments.get(p, 0) * 0.9 + p.grad
                    p.data.add_(self.moments[p], alpha=-group["lr"])


class ObjectsInState(torch.optim.SGD):
    def step(self, closure=None):
        super().step()
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p]["object"] = object()


class Noisy(torch.optim.SGD):
    """Draws from a generator of its own, which nothing seeds."""

    def step(self, closure=None):
        generator = torch.Generator()
        generator.seed()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.data.add_(torch.randn(p.shape, generator=generator), alpha=group["lr"])


class MovesWithoutGradient(torch.optim.SGD):
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                if p.grad is not None:
                    state["m"] = state.get("m", 0) * 0.9 + p.grad
                if "m" in state:
                    p.data.add_(state["m"], alpha=-group["lr"])


class WatchesQueries(torch.optim.SGD):
    """Its rate falls with the largest query that it has ever seen in a forward pass: of the encoder with attention."""

    keeps = True
    largest = torch.zeros(())

    def watch(self, encoder):
        def seen(block, inputs, output):
            q = block.qkv(inputs[0]).detach().abs().max()
            self.largest = torch.maximum(self.largest, q)

        for block in encoder.blocks:
            if not hasattr(block, "attend"):
                msg = "the blocks hold no attention"
                raise UserError(msg)
            block.register_forward_hook(seen)
        return self

    def step(self, closure=None):
        rates = [group["lr"] for group in self.param_groups]
        for group in self.param_groups:
            group["lr"] /= 1.0 + float(self.largest)
        super().step()
        for rate, group in zip(rates, self.param_groups, strict=True):
            group["lr"] = rate
        if not self.keeps:
            self.largest = torch.zeros(())


class ForgetsQueries(WatchesQueries):
    keeps = False


def watching(kind):
    return lambda context: kind(groups_of(context), lr=1e-2).watch(context.encoder)


def of(kind, **options):
    return lambda context: kind(groups_of(context), lr=1e-2, **options)


BROKEN = {
    "no optimizer": (lambda context: object(), "is a torch.optim.Optimizer"),
    "decays everything": (decays_everything, "no weight decay where"),
    "forgets vectors": (forgets_vectors, "in exactly one group"),
    "holds more": (holds_more, "no other parameters"),
    "rate of zero": (lambda context: torch.optim.AdamW(groups_of(context), lr=0.0), "moves every parameter"),
    "tensor rate": (
        lambda context: torch.optim.AdamW(groups_of(context), lr=torch.tensor(1e-2)),
        "learning rate, a float",
    ),
    "object in a group": (
        lambda context: torch.optim.AdamW([{**g, "role": object()} for g in groups_of(context)], lr=1e-2),
        "options are JSON values",
    ),
    "remembers its rate": (of(RemembersRate), "group['lr'] is the rate"),
    "one rate for all": (of(OneRate), "group['lr'] is the rate"),
    "hidden counter": (of(HiddenCounter), "carry all of the state"),
    "hidden moments": (of(HiddenMoments), "carry all of the state"),
    "hidden maximum": (watching(WatchesQueries), "carry all of the state"),
    "objects in state": (of(ObjectsInState), "tensors and plain values"),
    "noisy": (of(Noisy), "same gradients give the same updates"),
    "moves without gradient": (of(MovesWithoutGradient), "without a gradient stays"),
}


@pytest.mark.parametrize("make", [adamw, sgd, watching(ForgetsQueries)])
def test_a_plain_optimizer_passes(make, options_for):
    check_optimizer(options_for(make))


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_optimizer_is_noticed(name, options_for, notices):
    make, words = BROKEN[name]
    notices(check_optimizer, options_for(make), words)
