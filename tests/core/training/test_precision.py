"""TF32 is said where it means something, and where it does not."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from neobert.recipe import load_recipe
from neobert.training.devices import place
from neobert.training.environment import describe_environment
from neobert.training.precision import set_tf32, tf32_row, uses_tf32


@pytest.fixture
def _as_before() -> Iterator[None]:
    matmul, conv = torch.backends.cuda.matmul, torch.backends.cudnn.conv
    before = matmul.fp32_precision, conv.fp32_precision
    yield
    matmul.fp32_precision, conv.fp32_precision = before


def test_on_a_cpu_it_is_said_to_have_no_effect(workdir: Path, caplog: pytest.LogCaptureFixture) -> None:
    recipe = load_recipe("recipe.toml", ["--trainer.tf32=true"])
    with caplog.at_level(logging.INFO, "neobert"):
        set_tf32(recipe.trainer, torch.device("cpu"))
    assert caplog.messages == ["trainer.tf32 = true has no effect on cpu: TF32 is a format of CUDA devices"]
    assert describe_environment(recipe, place(recipe.trainer))["tf32"] is None
    assert tf32_row(load_recipe("recipe.toml").trainer, torch.device("cuda")) is None


@pytest.mark.usefixtures("_as_before")
@pytest.mark.parametrize("value", [True, False])
def test_on_cuda_it_is_set(workdir: Path, value: bool) -> None:
    cuda = torch.device("cuda")
    set_tf32(load_recipe("recipe.toml", [f"--trainer.tf32={str(value).lower()}"]).trainer, cuda)
    assert uses_tf32(cuda) is value
