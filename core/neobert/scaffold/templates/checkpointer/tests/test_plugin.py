import gzip

import pytest
import torch
from neobert.testing import check_checkpointer, make_context
from safetensors.torch import load

from plugin_package.plugin import PluginOptions


@pytest.mark.parametrize("level", [0, 1, 9])
def test_it_keeps_its_promises(level):
    check_checkpointer(PluginOptions(level=level))


def test_what_is_written_is_safetensors_that_gzip_opens(tmp_path):
    state = {"w": torch.zeros(1000), "step": 3}
    PluginOptions().build(make_context()).save(tmp_path, state)
    content = (tmp_path / "state.safetensors.gz").read_bytes()
    assert len(content) < 500
    assert torch.equal(load(gzip.decompress(content))["w"], state["w"])


def test_only_the_first_rank_writes(tmp_path):
    PluginOptions().build(make_context(rank=1, world_size=2)).save(tmp_path, {"step": 3})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [(1, 2), float("nan"), object(), {1: 2}])
def test_what_json_would_change_is_refused(tmp_path, value):
    with pytest.raises((TypeError, ValueError)):
        PluginOptions().build(make_context()).save(tmp_path, {"value": value})
