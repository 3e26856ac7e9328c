"""docs/troubleshooting.md quotes what is really printed: each of its mistakes is made, and the answer compared."""

from __future__ import annotations

import fcntl
import json
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.conftest import RECIPE, write_workdir

from neobert.cli import main
from neobert.registry import default_registry

Capture = pytest.CaptureFixture[str]
PAGE = Path(__file__).parent.parent / "docs" / "troubleshooting.md"
SECTION = re.compile(r"^### ([^\n]+)\n(.*?)(?=^##|\Z)", re.MULTILINE | re.DOTALL)
QUOTE = re.compile(r"^```text\n\$ ([^\n]+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SECTIONS = dict(SECTION.findall(PAGE.read_text(encoding="utf-8")))
ELSEWHERE = {"It is out of memory, hangs, or was killed"}
BEFORE_A_RUN = {"No file is found", "Several columns could be the text", "Nothing is left to train on"}
STATUS = {"A checkpoint is damaged": 0}


@pytest.fixture(autouse=True)
def _registry() -> Iterator[None]:
    """What one test's environment leaves out is there for the next."""
    default_registry.cache_clear()
    yield
    default_registry.cache_clear()


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recipe, and some files to go wrong with."""
    return _folder(tmp_path_factory.mktemp("fresh"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """The same once the recipe has been run."""
    folder = _folder(tmp_path_factory.mktemp("trained"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("NEOBERT_CACHE", str(cache))
        assert main(["mine.toml", "--trainer.save_steps=4"]) == 0
    return folder


def _folder(folder: Path) -> Path:
    write_workdir(folder)
    (folder / "recipe.toml").unlink()
    (folder / "mine.toml").write_text(RECIPE.replace('"run"', '"runs/mine"'), encoding="utf-8")
    rows = ({"title": f"title {number}", "body": "some words of it"} for number in range(30))
    (folder / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    (folder / "one.txt").write_text("one line\n", encoding="utf-8")
    (folder / "model.bin").write_bytes(b"\x80\x02")
    return folder


@contextmanager
def _as_it_was(title: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a section's mistake needs beside its command."""
    if title == "A run is still going":
        with (folder / "runs/mine/.lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
        return
    if title == "A checkpoint is damaged":
        state = folder / "runs/mine/checkpoints/6/state.safetensors"
        state.write_bytes(state.read_bytes()[:100])
    if title == "There is no C++ compiler":
        monkeypatch.setenv("CXX", "no-such-compiler")
    yield


@pytest.mark.parametrize("title", [title for title in SECTIONS if title not in ELSEWHERE])
def test_a_mistake_is_answered_as_the_page_says(
    title: str, cache: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, capfd: Capture
) -> None:
    folder: Path = request.getfixturevalue("fresh" if title in BEFORE_A_RUN else "trained")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("NEOBERT_CACHE", str(cache))
    ((command, quoted),) = QUOTE.findall(SECTIONS[title])
    words = shlex.split(command)
    while words[0] != "neobert-run":
        monkeypatch.setenv(*words.pop(0).split("=", 1))
    with _as_it_was(title, folder, monkeypatch):
        capfd.readouterr()
        status = main(words[1:])
    printed = "".join(capfd.readouterr()).splitlines()
    assert status == STATUS.get(title, 2), printed
    place = 0
    for line in quoted.splitlines():
        pattern = ".*".join(map(re.escape, line.split("..."))) if not line.startswith("...") else re.escape(line)
        found = next((n for n in range(place, len(printed)) if re.fullmatch(pattern, printed[n])), None)
        assert found is not None, f"not printed: {line}\n" + "\n".join(printed)
        place = found + 1


def test_every_quote_is_of_one_section() -> None:
    assert PAGE.read_text(encoding="utf-8").count("```text") == len(SECTIONS) - len(ELSEWHERE)
