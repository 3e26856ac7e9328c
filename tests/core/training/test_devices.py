"""Where a run computes, and what is refused before it would wait."""

from __future__ import annotations

import pytest

from neobert.errors import UserError
from neobert.recipe.trainer import TrainerOptions
from neobert.training.devices import choose_device


@pytest.mark.parametrize("use_cpu", [False, True])
def test_one_of_several_processes_does_not_wait_for_the_others(monkeypatch: pytest.MonkeyPatch, use_cpu: bool) -> None:
    launched = {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    for name, value in launched.items():
        monkeypatch.setenv(name, value)
    options = TrainerOptions(export_attn_backend="eager", use_cpu=use_cpu)
    with pytest.raises(UserError, match="started as 2 processes; only one is supported"):
        choose_device(options)
