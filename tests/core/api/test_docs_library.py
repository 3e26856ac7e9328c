"""docs/library.md: its snippets, made small, do what they say, and its tables are of what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import neobert

TEXT = (Path(__file__).parents[3] / "docs" / "library.md").read_text(encoding="utf-8")
TRAIN, USE = re.findall(r"^```python notest\n(.*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL)


def _keys(heading: str) -> set[str]:
    table = TEXT.partition(heading)[2].partition("\n\n")[0]
    first = [line.split("|")[1] for line in table.splitlines()[1:]]
    return {name for cell in first for name in re.findall(r"`(\w+)`", cell)}


def test_the_snippets(paired: neobert.Run, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exec(TRAIN.replace('"pretrain"', '"recipe.toml"').replace("100", "3"), {})
    run = neobert.Run("runs/short")
    assert str(run.metrics["train/loss"].last) in capsys.readouterr().out.splitlines()[-1]
    exec(USE.replace("runs/contrastive", str(paired.directory)), {"neobert": neobert})
    assert capsys.readouterr().out.count("[[") == 1


def test_the_tables(masked: neobert.Run) -> None:
    public = {name for name in dir(neobert.Run) if not name.startswith("_")} - {"status"}
    assert _keys("| of a `Run` | what it is |") == public
    written = (Path(neobert.__file__).parent / "training" / "finish.py").read_text(encoding="utf-8")
    keys = set(re.findall(r'"(\w+)":', written.partition("def _write(")[2]))
    assert _keys("| key | what it is |") == keys >= masked.summary.keys()
