"""Whatever stands in a file that a person or a disk has spoilt: a clear error, or it is read. Never anything else."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.conftest import RECIPE

from neobert.data.cursor import Cursor
from neobert.errors import UserError
from neobert.files import MANIFEST, faults
from neobert.recipe import load_recipe
from neobert.training.checkpoints import PROGRESS_FILE, read_progress
from neobert.training.kept_batch import ABOUT, read_kept_step
from neobert.watching.beat import HEARTBEAT, read_beat
from neobert.weights.files import find_weights, read_shapes, read_weights

quick = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)
slow = settings(quick, max_examples=10)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
keys = st.sampled_from(
    ["trainer.max_steps", "model", "model.attn_backend", "dataset.path", "optimizer.betas", "trainer.ema", "trackers"]
)
toml_values = st.sampled_from(
    ["1", '"x"', "[]", "{}", "{name = 1}", "none", "nan", "1e999", "'''", "\x00", "[[", "2020-01-01"]
)


@st.composite
def spoilt(draw: st.DrawFn, content: bytes) -> bytes:
    """The content with a piece taken out, and some bytes in its place."""
    first = draw(st.integers(0, len(content)))
    last = draw(st.integers(first, min(len(content), first + 20)))
    return content[:first] + draw(st.binary(max_size=8)) + content[last:]


@st.composite
def changed(draw: st.DrawFn, value: Any) -> Any:
    """A JSON value with something in it replaced."""
    if isinstance(value, dict) and value and draw(st.booleans()):
        key = draw(st.sampled_from(sorted(value)))
        return {**value, key: draw(changed(value[key]))}
    if isinstance(value, list) and value and draw(st.booleans()):
        place = draw(st.integers(0, len(value) - 1))
        return [*value[:place], draw(changed(value[place])), *value[place + 1 :]]
    return draw(json_values)


def load(folder: Path, text: bytes, *overrides: str) -> None:
    path = folder / "recipe.toml"
    path.write_bytes(text)
    with contextlib.suppress(UserError):
        load_recipe(path, overrides)


@quick
@given(text=spoilt(RECIPE.encode()))
def test_recipes(tmp_path: Path, text: bytes) -> None:
    load(tmp_path, text)


@quick
@given(key=keys, value=toml_values | st.text(max_size=10), joined=st.booleans())
def test_overrides(tmp_path: Path, key: str, value: str, joined: bool) -> None:
    load(tmp_path, RECIPE.encode(), *([f"--{key}={value}"] if joined else [f"--{key}", value]))


@quick
@given(flag=st.text(max_size=12))
def test_flags(tmp_path: Path, flag: str) -> None:
    load(tmp_path, RECIPE.encode(), f"--{flag}", "1")


ENTRIES = {"a.bin": {"size": 1, "sha256": "00"}, "b/c.json": {"size": 2, "sha256": "ff"}}


@quick
@given(text=spoilt(json.dumps(ENTRIES).encode()) | changed(ENTRIES).map(lambda value: json.dumps(value).encode()))
def test_manifests(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "a.bin").write_bytes(b"x")
    (tmp_path / MANIFEST).write_bytes(text)
    assert all(isinstance(line, str) for line in faults(tmp_path))


CURSOR = Cursor(1, 2, 3, ((4, 0, 5),), ((1, 2, 3, 4, 5),)).to_json()
PROGRESS = {
    "step": 1,
    "cursor": CURSOR,
    "tokens_seen": 2,
    "meter": {"loss": 1.0},
    "evaluations": {"before": {"loss": 1.0}},
    "optimizer_layout": {},
    "data_fingerprint": "x",
    "tokenizer_fingerprint": "y",
    "num_threads": 1,
    "world_size": 1,
}


@quick
@given(value=changed(CURSOR))
def test_cursors(value: Any) -> None:
    with contextlib.suppress(ValueError):
        Cursor.from_json(value)


@quick
@given(text=spoilt(json.dumps(PROGRESS).encode()) | changed(PROGRESS).map(lambda value: json.dumps(value).encode()))
def test_progress(tmp_path: Path, text: bytes) -> None:
    (tmp_path / PROGRESS_FILE).write_bytes(text)
    with contextlib.suppress(UserError):
        assert isinstance(read_progress(tmp_path).step, int)


@quick
@given(text=st.binary(max_size=60) | json_values.map(lambda value: json.dumps(value).encode()))
def test_heartbeats_and_kept_steps(tmp_path: Path, text: bytes) -> None:
    for name in (HEARTBEAT, ABOUT, MANIFEST):
        (tmp_path / name).write_bytes(text)
    read_beat(tmp_path)
    with pytest.raises(UserError):
        read_kept_step(tmp_path)


def test_what_is_nested_too_deeply(tmp_path: Path) -> None:
    for name in (HEARTBEAT, ABOUT, MANIFEST, PROGRESS_FILE, "model.safetensors.index.json"):
        (tmp_path / name).write_text("[" * 100_000)
    assert read_beat(tmp_path) is None
    assert faults(tmp_path) == [f"{MANIFEST} is damaged"]
    with pytest.raises(UserError):
        read_progress(tmp_path)
    (tmp_path / MANIFEST).unlink()
    with pytest.raises(UserError, match="is not a safetensors index"):
        find_weights(tmp_path)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    import torch
    from safetensors.torch import save

    assert tmp_path_factory
    return save({"a": torch.arange(4.0), "b.c": torch.zeros(2, 2, dtype=torch.int64)})


@quick
@given(data=st.data())
def test_safetensors(tmp_path: Path, weights: bytes, data: st.DataObject) -> None:
    (tmp_path / "model.safetensors").write_bytes(data.draw(spoilt(weights) | st.binary(max_size=40)))
    for read in (read_shapes, read_weights):
        with contextlib.suppress(UserError):
            read(find_weights(tmp_path / "model.safetensors"))


@quick
@given(value=changed({"weight_map": {"a": "model.safetensors", "b": "other.safetensors"}}))
def test_indexes(tmp_path: Path, weights: bytes, value: Any) -> None:
    (tmp_path / "model.safetensors").write_bytes(weights)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(value))
    with contextlib.suppress(UserError):
        read_shapes(find_weights(tmp_path))


@pytest.mark.parametrize("name", ["../model.safetensors", "/model.safetensors", "a/../../model.safetensors", "\0", 3])
def test_an_index_cannot_lead_outside(tmp_path: Path, weights: bytes, name: object) -> None:
    (tmp_path / "model.safetensors").write_bytes(weights)
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(UserError, match="nothing outside of it is read"):
        find_weights(tmp_path / "inside")


@slow
@given(data=st.data())
def test_json_lines(tmp_path: Path, data: st.DataObject) -> None:
    from neobert_plugins.datasets.files import read
    from neobert_plugins.datasets.options import Files

    lines = b"".join(json.dumps({"text": f"line {number}"}).encode() + b"\n" for number in range(5))
    file = tmp_path / "corpus.jsonl"
    file.write_bytes(data.draw(spoilt(lines)))
    with contextlib.suppress(UserError):
        read(Files(path=str(file)))


@slow
@given(data=st.data())
def test_tokenizers(tmp_path: Path, data: st.DataObject) -> None:
    from tokenizers import Tokenizer, models

    from neobert_plugins.tokenizers.options import Pretrained
    from neobert_plugins.tokenizers.pretrained import _read

    whole = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1}, unk_token="[UNK]")).to_str().encode()
    (tmp_path / "tokenizer.json").write_bytes(data.draw(spoilt(whole)))
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    with contextlib.suppress(UserError):
        _read(Pretrained(path=str(tmp_path)), "tokenizer.path")
