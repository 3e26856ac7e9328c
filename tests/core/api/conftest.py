"""Two small runs of `neobert.run`, one by masked tokens, one by pairs of texts."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from rich.console import Console
from tests.conftest import WORDS, write_workdir

import neobert

SILENT = Console(quiet=True)
PAIRS = {
    "dataset.path": "pairs.jsonl",
    "datacollator": "pairs",
    "datacollator.pack_sequences": False,
    "loss": "info_nce",
    "loss.pooling": "weighted_mean",
    "loss.projection_size": 12,
    "optimizer": "adamw",
    "dataset.role_prefixes": {"query": "find the", "positive": "a list"},
}


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with a recipe, a corpus and pairs, that stays."""
    folder = tmp_path_factory.mktemp("api")
    write_workdir(folder)
    rng = random.Random(1)
    rows = ([rng.choices(WORDS, k=5), rng.choices(WORDS, k=9)] for _ in range(60))
    lines = (json.dumps({"query": " ".join(query), "positive": " ".join(text)}) for query, text in rows)
    (folder / "pairs.jsonl").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def here(place: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(place)
    monkeypatch.setenv("NEOBERT_CACHE", str(cache))
    return place


def _trained(place: Path, cache: Path, overrides: dict[str, object]) -> neobert.Run:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setenv("NEOBERT_CACHE", str(cache))
        return neobert.run("recipe.toml", overrides, console=SILENT)


@pytest.fixture(scope="session")
def masked(place: Path, cache: Path) -> neobert.Run:
    return _trained(place, cache, {"trainer.output_dir": "masked", "trainer.max_steps": 4, "trainer.save_steps": 2})


@pytest.fixture(scope="session")
def paired(place: Path, cache: Path) -> neobert.Run:
    return _trained(place, cache, {**PAIRS, "trainer.output_dir": "paired", "trainer.max_steps": 4, "trainer.ema": {}})
