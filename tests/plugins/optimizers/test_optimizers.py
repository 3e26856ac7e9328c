"""Each optimizer against torch's own and a plain reference."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from attrs import evolve
from torch import nn

from neobert import BuildContext, ParameterGroup
from neobert_plugins.optimizers import Adam, AdamW, Muon, StableAdamW

SHAPES = {
    "matrix": {
        "encoder.blocks.0.wide": (24, 8),
        "encoder.blocks.0.tall": (8, 8),
        "encoder.blocks.1.wide": (24, 8),
    },
    "embedding": {"encoder.embedding": (12, 8)},
    "vector": {"encoder.norm": (8,)},
    "head": {"loss.decoder": (12, 8)},
}


def make_groups(roles=tuple(SHAPES), dtype=torch.float32) -> tuple[ParameterGroup, ...]:
    generator = torch.Generator().manual_seed(3)
    return tuple(
        ParameterGroup(
            role=role,
            decay=role != "vector",
            parameters={
                name: nn.Parameter(torch.randn(shape, generator=generator).to(dtype))
                for name, shape in SHAPES[role].items()
            },
        )
        for role in roles
    )


def build(options, groups) -> torch.optim.Optimizer:
    context = BuildContext(
        seed=0,
        device=torch.device("cpu"),
        run_directory=Path("unused"),
        max_seq_length=8,
        max_steps=10,
        parameter_groups=groups,
    )
    return options.build(context)


def named(groups) -> dict[str, nn.Parameter]:
    return {name: parameter for group in groups for name, parameter in group.parameters.items()}


def set_gradients(groups, step: int) -> None:
    for index, parameter in enumerate(named(groups).values()):
        generator = torch.Generator().manual_seed(100 * step + index)
        parameter.grad = torch.randn(parameter.shape, generator=generator).to(parameter.dtype)


def train(optimizer, groups, steps: int, start: int = 0) -> dict[str, torch.Tensor]:
    for step in range(start, start + steps):
        set_gradients(groups, step)
        optimizer.step()
        optimizer.zero_grad()
    return {name: parameter.detach().clone() for name, parameter in named(groups).items()}


def plain_adamw(weight, gradients, *, lr, betas, eps, decay):
    first = second = torch.zeros_like(weight)
    for step, gradient in enumerate(gradients, start=1):
        first = betas[0] * first + (1 - betas[0]) * gradient
        second = betas[1] * second + (1 - betas[1]) * gradient**2
        weight = weight * (1 - lr * decay)
        unbiased = second / (1 - betas[1] ** step)
        weight = weight - lr * first / (1 - betas[0] ** step) / (unbiased.sqrt() + eps)
    return weight


@pytest.mark.parametrize("options", [AdamW(weight_decay=0.3), Adam()], ids=["adamw", "adam"])
def test_adam_follows_the_papers_and_decays_only_where_it_is_meant(options):
    groups = make_groups(dtype=torch.float64)
    before = {name: parameter.detach().clone() for name, parameter in named(groups).items()}
    gradients = []
    for step in range(3):
        set_gradients(groups, step)
        gradients.append({name: parameter.grad.clone() for name, parameter in named(groups).items()})
    after = train(build(options, groups), groups, 3)
    for group in groups:
        for name in group.parameters:
            decay = options.weight_decay if isinstance(options, AdamW) and group.decay else 0.0
            expected = plain_adamw(
                before[name],
                [g[name] for g in gradients],
                lr=options.lr,
                betas=options.betas,
                eps=options.eps,
                decay=decay,
            )
            torch.testing.assert_close(after[name], expected, atol=1e-12, rtol=1e-9, msg=name)


def plain_stable_adamw(weight, gradients, *, lr, betas, eps, decay):
    """Algorithm 2 of arXiv:2304.13013, with its own way of writing the moments; also the divisor of each step."""
    v, u, divisors = torch.zeros_like(weight), torch.zeros_like(weight), []
    for t, gradient in enumerate(gradients, start=1):
        hat1, hat2 = (beta * (1 - beta ** (t - 1)) / (1 - beta**t) for beta in betas)
        v = hat1 * v + (1 - hat1) * gradient
        u = hat2 * u + (1 - hat2) * gradient**2
        rms = (gradient**2 / torch.clamp(u, min=eps**2)).mean().sqrt().item()
        divisors.append(max(1.0, rms))
        eta = lr / divisors[-1]
        weight = weight - eta * decay * weight - eta * v / (u.sqrt() + eps)
    return weight, divisors


def test_stable_adamw_follows_the_paper():
    options = StableAdamW(lr=0.01, weight_decay=0.3)
    groups = make_groups(dtype=torch.float64)
    optimizer = build(options, groups)
    before = {name: parameter.detach().clone() for name, parameter in named(groups).items()}
    history = {name: [] for name in before}
    for step in range(6):
        set_gradients(groups, step)
        for name, parameter in named(groups).items():
            # A spike at the fourth step, in some tensors; one that never learns much, in another.
            parameter.grad *= 50.0 if step == 3 and "blocks.0" in name else 1.0
            parameter.grad *= 1e-9 if name == "loss.decoder" else 1.0
            history[name].append(parameter.grad.clone())
        optimizer.step()
    spiked = {}
    for group in groups:
        for name, parameter in group.parameters.items():
            expected, divisors = plain_stable_adamw(
                before[name],
                history[name],
                lr=options.lr,
                betas=options.betas,
                eps=options.eps,
                decay=options.weight_decay if group.decay else 0.0,
            )
            torch.testing.assert_close(parameter.detach(), expected, atol=1e-13, rtol=1e-11, msg=name)
            spiked[name] = divisors[3]
    assert spiked["encoder.blocks.0.wide"] > 1.5
    assert spiked["encoder.blocks.1.wide"] < 1.3
    assert spiked["loss.decoder"] == 1.0


def test_stable_adamw_is_adamw_while_gradients_keep_their_size():
    ours, theirs = make_groups(dtype=torch.float64), make_groups(dtype=torch.float64)
    found = [build(StableAdamW(), ours), build(AdamW(), theirs)]
    for step in range(4):
        for groups, optimizer in zip((ours, theirs), found, strict=True):
            set_gradients(groups, 0)  # the same each time
            for parameter in named(groups).values():
                parameter.grad *= 0.9**step
            optimizer.step()
    for name, parameter in named(theirs).items():
        torch.testing.assert_close(named(ours)[name], parameter, atol=1e-13, rtol=1e-11, msg=name)


def test_stable_adamw_keeps_state_as_torch_does_and_leaves_what_has_no_gradient():
    groups = make_groups()
    optimizer = build(StableAdamW(), groups)
    set_gradients(groups, 0)
    still = named(groups)["encoder.norm"]
    still.grad, before = None, still.detach().clone()
    assert optimizer.step(lambda: 1.5) == 1.5
    assert torch.equal(still, before)
    assert still not in optimizer.state
    for name, parameter in named(groups).items():
        if parameter is not still:
            state = optimizer.state[parameter]
            assert set(state) == {"step", "exp_avg", "exp_avg_sq"}, name
            assert state["step"].device.type == "cpu"
    # Taken up one step later than the others: its own correction of the start at zero.
    set_gradients(groups, 1)
    optimizer.step()
    assert [float(optimizer.state[p]["step"]) for p in named(groups).values()].count(1.0) == 1


def test_adamw_is_fused_and_keeps_the_cores_groups_and_names():
    groups = make_groups()
    optimizer = build(AdamW(), groups)
    assert all(group["fused"] for group in optimizer.param_groups)
    assert [group["role"] for group in optimizer.param_groups] == [group.role for group in groups]
    assert [group["param_names"] for group in optimizer.param_groups] == [list(g.parameters) for g in groups]


def muon_pair(options: Muon, roles=tuple(SHAPES), dtype=torch.float32):
    """Our muon, and torch's Muon and AdamW side by side, on equal weights."""
    ours, theirs = make_groups(roles, dtype), make_groups(roles, dtype)
    split = {is_matrix: [g for g in theirs if (g.role == "matrix") == is_matrix] for is_matrix in (True, False)}

    def torch_groups(chosen):
        return [
            {"params": list(g.parameters.values()), "weight_decay": options.weight_decay if g.decay else 0.0}
            for g in chosen
        ]

    muon = torch.optim.Muon(
        torch_groups(split[True]),
        lr=options.lr,
        momentum=options.momentum,
        nesterov=options.nesterov,
        ns_steps=options.ns_steps,
        adjust_lr_fn=options.adjust_lr_fn,
    )
    adamw = torch.optim.AdamW(
        torch_groups(split[False]), lr=options.adamw_lr, betas=options.betas, eps=options.eps, fused=True
    )
    return ours, theirs, muon, adamw


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize("adjust", ["original", "match_rms_adamw"])
@pytest.mark.parametrize("ns_dtype", ["float32", "bfloat16"])
def test_muon_agrees_with_torchs_muon_within_bfloat16_and_with_its_adamw_exactly(nesterov, adjust, ns_dtype):
    options = Muon(lr=0.02, weight_decay=0.1, nesterov=nesterov, adjust_lr_fn=adjust, ns_dtype=ns_dtype)
    ours, theirs, muon, adamw = muon_pair(options)
    before = {name: p.detach().clone() for name, p in named(ours).items()}
    after = train(build(options, ours), ours, 4)
    for step in range(4):
        set_gradients(theirs, step)
        muon.step()
        adamw.step()
    for name, parameter in named(theirs).items():
        if "blocks" in name:
            moved = (parameter - before[name]).norm()
            assert (after[name] - parameter).norm() < 0.03 * moved, name
        else:
            assert torch.equal(after[name], parameter), name


@pytest.mark.parametrize("shape", ["encoder.blocks.0.wide", "encoder.blocks.0.tall"])
def test_one_muon_step_is_what_the_formula_says(shape):
    options = Muon(lr=0.1, weight_decay=0.5, momentum=0.9)
    groups = make_groups(("matrix",), torch.float64)
    weight = named(groups)[shape].detach().clone()
    set_gradients(groups, 0)
    gradient = named(groups)[shape].grad.clone()
    after = train(build(options, groups), groups, 1)[shape]

    # At the first step momentum only scales the gradient, and the iteration takes all scale away.
    u, s, v = torch.linalg.svd(gradient, full_matrices=False)
    s = s / gradient.norm()
    for _ in range(5):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    rows, columns = weight.shape
    expected = weight * (1 - 0.1 * 0.5) - 0.1 * math.sqrt(max(1, rows / columns)) * (u @ s.diag() @ v)
    torch.testing.assert_close(after, expected, atol=1e-9, rtol=0)


@pytest.mark.parametrize("roles", [("vector", "embedding"), ("matrix",)], ids=["no matrix", "only matrices"])
def test_muon_takes_either_part_alone(roles):
    groups = make_groups(roles)
    before = {name: p.detach().clone() for name, p in named(groups).items()}
    after = train(build(Muon(), groups), groups, 2)
    assert all(not torch.equal(before[name], after[name]) for name in before)


def test_muon_decays_only_where_it_is_meant():
    groups = make_groups()
    optimizer = build(Muon(lr=0.1, adamw_lr=0.1, weight_decay=0.5), groups)
    before = {name: p.detach().clone() for name, p in named(groups).items()}
    for parameter in named(groups).values():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for group in groups:
        for name, parameter in group.parameters.items():
            torch.testing.assert_close(parameter.detach(), before[name] * (0.95 if group.decay else 1.0), msg=name)


def test_muon_keeps_all_state_where_the_loop_looks_for_it():
    groups = make_groups()
    optimizer = build(Muon(), groups)
    train(optimizer, groups, 2)
    for group in groups:
        for name, parameter in group.parameters.items():
            expected = {"momentum_buffer"} if group.role == "matrix" else {"step", "exp_avg", "exp_avg_sq"}
            assert set(optimizer.state[parameter]) == expected, name
    assert set(optimizer.state_dict()) == {"state", "param_groups"}


@pytest.mark.parametrize(
    "options", [AdamW(), Adam(), StableAdamW(), Muon()], ids=["adamw", "adam", "stable_adamw", "muon"]
)
def test_a_loaded_state_dict_goes_on_bit_for_bit(options):
    whole = make_groups()
    expected = train(build(options, whole), whole, 6)
    groups = make_groups()
    optimizer = build(options, groups)
    train(optimizer, groups, 3)
    again = build(options, groups)
    again.load_state_dict(optimizer.state_dict())
    found = train(again, groups, 3, start=3)
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_muon_uses_each_groups_learning_rate_of_the_moment():
    groups = make_groups()
    optimizer = build(Muon(weight_decay=0.0), groups)
    before = {name: p.detach().clone() for name, p in named(groups).items()}
    for group in optimizer.param_groups:
        group["lr"] = 0.0 if group["role"] in ("matrix", "vector") else 1e-3
    after = train(optimizer, groups, 1)
    for group in groups:
        for name in group.parameters:
            assert torch.equal(before[name], after[name]) == (group.role in ("matrix", "vector")), name


def test_muon_leaves_parameters_without_gradient_and_runs_a_closure():
    groups = make_groups()
    optimizer = build(Muon(), groups)
    set_gradients(groups, 0)
    still = named(groups)["encoder.blocks.0.wide"]
    still.grad = None
    before = still.detach().clone()
    assert optimizer.step(lambda: 1.5) == 1.5
    assert torch.equal(still, before)


def test_muons_group_options_are_json_values():
    import json

    optimizer = build(evolve(Muon(), ns_dtype="float32"), make_groups())
    for group in optimizer.param_groups:
        json.dumps({key: value for key, value in group.items() if key != "params"})


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        (AdamW, {"lr": -1.0}),
        (AdamW, {"betas": (0.9, 1.0)}),
        (AdamW, {"betas": (0.9,)}),
        (AdamW, {"weight_decay": -0.1}),
        (Adam, {"eps": 0.0}),
        (StableAdamW, {"eps": 0.0}),
        (Muon, {"clip_attention_logits": 0.0}),
        (Muon, {"momentum": 1.0}),
        (Muon, {"ns_steps": 0}),
    ],
)
def test_values_out_of_range_are_refused(options, wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        options(**wrong)
