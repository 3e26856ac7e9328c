"""What a process of eight keeps, brings together and sends, seen from one of them: the others are not there.

That what comes of it is right is `test_many_ranks.py`'s to see.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from neobert.errors import RecipeError, UserError
from neobert.interfaces import LossOutput
from neobert.recipe import load_recipe
from neobert.training.gradient import finish_gradients
from neobert.training.objective import Objective
from neobert.training.scaling import FP32, Shape, costs
from neobert.training.sharding import shard
from neobert_plugins.optimizers import AdamW

RANKS, WIDTH, BLOCKS = 8, 128, 6
CPU = torch.device("cpu")
Go = Callable[..., tuple[int, str]]


@pytest.fixture
def _one_of_eight() -> Iterator[None]:
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=RANKS)
    yield
    dist.destroy_process_group()


class Encoder(nn.Module):
    """Blocks of one matrix each, and an embedding of so many rows."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.input_embedding = nn.Embedding(rows, WIDTH)
        self.blocks = nn.ModuleList(nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(BLOCKS))

    def forward(self, ids: Tensor) -> Tensor:
        hidden: Tensor = self.input_embedding(ids)
        for block in self.blocks:
            hidden = block(hidden)
        return hidden


class Loss(nn.Module):
    """Its head is the embedding."""

    def forward(self, encoder: Encoder, batch: Tensor) -> LossOutput:
        return LossOutput((encoder(batch) @ encoder.input_embedding.weight.T).sum(), torch.tensor(1.0))


class Bytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Of the storages that live, as large as they are now: FSDP empties some, and fills them again."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = 0
        self._found: dict[int, weakref.ref[Any]] = {}

    @property
    def now(self) -> int:
        return sum(storage.nbytes() for found in self._found.values() if (storage := found()) is not None)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in pytree.tree_leaves(result):
            if type(leaf) in (Tensor, nn.Parameter):
                self._found[leaf.untyped_storage()._cdata] = weakref.ref(leaf.untyped_storage())
        self.peak = max(self.peak, self.now)
        return result


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Bytes of the whole of every message: what is brought together, or taken apart."""
    found: list[int] = []
    gather, scatter = dist.all_gather_single, dist.reduce_scatter_single  # type: ignore[attr-defined]

    def gathered(output: Tensor, *args: Any, **kwargs: Any) -> Any:
        found.append(output.nbytes)
        return gather(output, *args, **kwargs)

    def scattered(*args: Any, **kwargs: Any) -> Any:
        found.append(kwargs["input"].nbytes)
        return scatter(*args, **kwargs)

    monkeypatch.setattr(dist, "all_gather_single", gathered)
    monkeypatch.setattr(dist, "reduce_scatter_single", scattered)
    return found


@pytest.mark.usefixtures("_one_of_eight")
@pytest.mark.parametrize("rows", [64, 512], ids=["blocks are the most", "the embedding is"])
def test_costs_are_what_a_step_takes_and_sends(rows: int, sent: list[int]) -> None:
    shape = Shape(blocks=BLOCKS, block=WIDTH**2, outside=rows * WIDTH)
    expected = costs(shape, RANKS, "fsdp")
    with Bytes() as counter:
        objective = Objective(Encoder(rows), Loss())
        shard(objective, {"": objective}, CPU)
        gc.collect()
        assert counter.now == pytest.approx(expected.weights, rel=0.01)
        counter.peak = 0
        objective(torch.arange(2)).total.backward()
        assert counter.now == pytest.approx(expected.weights + expected.gradients, rel=0.01)
        # Gradients that are not there yet at that moment are counted by the formula.
        assert counter.peak <= 1.01 * (expected.memory - expected.optimizer_state)
        assert counter.peak >= 0.93 * (expected.memory - expected.optimizer_state)
    assert (RANKS - 1) * sum(sent) // RANKS == expected.sent
    assert sum(sent) == 3 * FP32 * shape.parameters


@pytest.mark.usefixtures("_one_of_eight")
def test_a_parameter_without_rows_is_refused_by_name() -> None:
    loss = Loss()
    loss.scale = nn.Parameter(torch.tensor(1.0))
    objective = Objective(Encoder(64), loss)
    with pytest.raises(UserError, match=r"shares out the rows of each weight, and loss\.scale has none"):
        shard(objective, {"": objective}, CPU)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_parts_on_a_gpu_are_those_of_one_process() -> None:
    """NCCL, in a group of one: what is together, taken apart and summed there."""
    torch.cuda.set_device(0)
    device = torch.device("cuda", 0)
    dist.init_process_group("cpu:gloo,cuda:nccl", store=dist.HashStore(), rank=0, world_size=1, device_id=device)
    try:
        torch.manual_seed(0)
        objective = Objective(Encoder(64), Loss())
        whole = Objective(Encoder(64), Loss()).to(device)
        whole.load_state_dict(objective.state_dict())
        shard(objective, {"": objective}, device)
        ids = torch.arange(2, device=device)
        norms = []
        for module in (objective, whole):
            for _ in range(2):
                module(ids).total.backward()
            norms.append(finish_gradients(module.parameters(), torch.tensor(4.0, device=device), 1.0))
        assert torch.allclose(*norms)
        for own, expected in zip(objective.parameters(), whole.parameters(), strict=True):
            assert own.device == device
            assert torch.allclose(own.grad.full_tensor(), expected.grad)  # type: ignore[union-attr]
    finally:
        dist.destroy_process_group()


@pytest.mark.usefixtures("workdir")
def test_what_cannot_be_in_parts_is_refused_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = ("--loss=info_nce", "--datacollator=pairs", "--datacollator.pack_sequences=false")
    both = ("--optimizer.clip_attention_logits=100.0", "--loss.chunk_tokens=64")
    with pytest.raises(RecipeError) as refused:
        load_recipe(Path("recipe.toml"), (*pairs, "--dataset.text_column=none", *both, "--trainer.strategy=fsdp"))
    said = str(refused.value)
    for key in ("optimizer.clip_attention_logits = 100.0", "loss.chunk_tokens = 64"):
        assert f'command line: {key}\n  not with trainer.strategy = "fsdp"' in said
    monkeypatch.delattr(AdamW, "shards")  # as a stranger's, that says nothing
    with pytest.raises(RecipeError, match=r'"ddp", or one of: adam, muon, stable_adamw'):
        load_recipe(Path("recipe.toml"), ("--optimizer=adamw", "--trainer.strategy=fsdp"))


def test_one_process_says_what_it_does(go: Go) -> None:
    status, said = go("--trainer.strategy=fsdp", "--trainer.max_steps=2")
    assert status == 0
    assert 'trainer.strategy = "fsdp" has no effect on one process' in said
