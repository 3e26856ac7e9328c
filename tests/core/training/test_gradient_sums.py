"""What is sent when, in a group of one process: sums are what went in, and only the order of things is looked at.

That sums over several processes are right is `test_many_ranks.py`'s to see.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch import distributed as dist

from neobert.interfaces import LossOutput
from neobert.training.gradient_sums import GradientSums
from neobert.training.memory import MemoryCounter
from neobert.training.scaling import Shape, costs, table

SIZE = 64


@pytest.fixture(autouse=True)
def _group() -> Iterator[None]:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Bytes of every message of gradients, as it goes."""
    found: list[int] = []
    all_reduce = dist.all_reduce

    def noted(tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
        if kwargs.get("async_op"):
            found.append(tensor.nbytes)
        return all_reduce(tensor, *args, **kwargs)

    monkeypatch.setattr(dist, "all_reduce", noted)
    return found


class Heads(nn.Module):
    """A body and two heads, of which a step uses one: each weight is one bucket here."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(SIZE, SIZE, bias=False)
        self.heads = nn.ModuleList(nn.Linear(SIZE, SIZE, bias=False) for _ in range(2))

    def forward(self, head: int) -> Tensor:
        rows = torch.ones(3, SIZE)
        total: Tensor = self.heads[head](self.body(rows)).square().sum()
        return total


def step(sums: GradientSums, module: nn.Module, *totals: Any) -> dict[str, Tensor | None]:
    """One step with a micro-batch for each of ``totals``, which make the loss; the gradients, taken away."""
    outputs = []
    for micro in sums.watched([SimpleNamespace(total=total) for total in totals]):  # type: ignore[list-item]
        total = micro.total()  # type: ignore[attr-defined]
        total.backward()
        outputs.append(LossOutput(total.detach(), torch.tensor(2), {}))
    (summed,), count = sums.finish(outputs, torch.tensor(2 * len(outputs)))
    assert float(count) == 2 * len(totals)
    assert float(summed.total) == pytest.approx(sum(float(output.total) for output in outputs))
    gradients = {name: p.grad for name, p in module.named_parameters()}
    module.zero_grad(set_to_none=True)
    return gradients


def alone(module: nn.Module, *totals: Any) -> dict[str, Tensor | None]:
    for total in totals:
        total().backward()
    gradients = {name: p.grad for name, p in module.named_parameters()}
    module.zero_grad(set_to_none=True)
    return gradients


def same(one: dict[str, Tensor | None], other: dict[str, Tensor | None]) -> bool:
    return one.keys() == other.keys() and all(
        (value is None) == (other[name] is None) and (value is None or torch.equal(value, other[name]))  # type: ignore[arg-type]
        for name, value in one.items()
    )


def test_a_head_that_no_rank_used_has_no_gradient(sent: list[int]) -> None:
    module = Heads()
    expected = [alone(module, lambda head=head: module(head)) for head in range(2)]
    sums = GradientSums(module, bucket_bytes=1)
    for head in (0, 1, 0, 0):
        assert same(step(sums, module, lambda head=head: module(head)), expected[head])


def test_gradients_go_while_the_last_backward_pass_is_going_on(sent: list[int]) -> None:
    module = Heads()
    sums = GradientSums(module, bucket_bytes=1)
    step(sums, module, lambda: module(0))
    assert len(sent) == 2, "body and one head, after the first step's backward pass"
    sent.clear()
    during: list[int] = []
    module.body.weight.register_post_accumulate_grad_hook(lambda _: during.append(len(sent)))
    both = step(sums, module, lambda: module(0), lambda: module(0))
    assert during == [0, 2], "none before the last micro-batch; then all, as the body's gradient is the last"
    assert same(both, alone(module, lambda: module(0), lambda: module(0)))


def test_what_is_added_after_it_was_sent_is_sent_again(sent: list[int]) -> None:
    module = Heads()

    def total() -> Tensor:
        """A loss may go back through the encoder in the midst of its own backward pass."""
        value: Tensor = module(0)
        value.register_hook(once_more)  # type: ignore[no-untyped-call]
        return value

    @torch.enable_grad()
    def once_more(_: Tensor) -> None:
        module(0).backward()

    expected = alone(module, total)
    sums = GradientSums(module, bucket_bytes=1)
    for _ in range(3):
        assert same(step(sums, module, total), expected)


def test_costs_are_what_a_step_takes_and_sends(sent: list[int]) -> None:
    module = nn.Sequential(*(nn.Linear(512, 512, bias=False) for _ in range(8)))
    parameters = sum(p.numel() for p in module.parameters())
    sums = GradientSums(module)
    for _ in range(2):
        sent.clear()
        with MemoryCounter() as counter:
            step(sums, module, lambda: module(torch.ones(1, 512)).sum())
    expected = costs(Shape(blocks=8, block=parameters // 8, outside=0), 8)
    # A sum over n processes has each send 2 (n - 1) / n of it.
    assert 2 * 7 * sum(sent) // 8 == expected.sent
    assert counter.peak == pytest.approx(expected.memory - expected.optimizer_state, rel=0.01)


def test_the_page_has_the_table() -> None:
    page = Path(__file__).parents[3] / "docs" / "scaling.md"
    assert table() in page.read_text(encoding="utf-8"), "python -m neobert.training.scaling prints it"
