"""Every snippet in the documentation does what it says."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [
    ROOT / "README.md",
    *(page for page in sorted((ROOT / "docs").rglob("*.md")) if "plugin_example" not in page.parts),
]
BLOCK = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def _blocks(language: str) -> list[object]:
    """Blocks of a language; ``notest`` after it marks one that needs what a test does not have."""
    found = []
    for page in PAGES:
        if page.parent.name == "tutorials" and language != "bash":
            continue  # run from their beginning to their end by tests/test_tutorials.py
        for number, (kind, words, text) in enumerate(BLOCK.findall(page.read_text(encoding="utf-8"))):
            if kind == language and "notest" not in words:
                found.append(pytest.param(text, id=f"{page.relative_to(ROOT)}-{number}"))
    return found


@pytest.mark.parametrize("text", _blocks("python"))
def test_python_snippets_run(text: str, tmp_path: Path) -> None:
    (tmp_path / "snippet.py").write_text(text, encoding="utf-8")
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    done = subprocess.run([sys.executable, "snippet.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("text", _blocks("toml"))
def test_recipe_snippets_load(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from neobert.recipe import load_recipe

    monkeypatch.chdir(tmp_path)
    (tmp_path / "pretrain.toml").write_text('[dataset]\nname = "stdlib"\n', encoding="utf-8")
    (tmp_path / "snippet.toml").write_text(text, encoding="utf-8")
    load_recipe(tmp_path / "snippet.toml")


@pytest.mark.parametrize("text", _blocks("bash"))
def test_commands_are_understood(text: str) -> None:
    from neobert.commands.arguments import parse

    for line in text.splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["neobert-run"]:
            parse(words[1:])
        elif "neobert.cli" in words:
            parse(words[words.index("neobert.cli") + 1 :])


def test_links_lead_somewhere() -> None:
    missing = [
        f"{page.name}: {target}"
        for page in PAGES
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))
        if not (page.parent / target).exists()
    ]
    assert missing == []


def test_ci_runs_the_test_command_of_the_readme() -> None:
    (command,) = re.findall(r"&& (python -m pytest[^\n]*)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert command in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
