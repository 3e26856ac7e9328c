"""Wheel and source archive: built, installed in a fresh environment, and doing the main job without a checkout."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NOT_IN_ALL = {"all", "flash", "test", "dev", "docs", "browser"}
"""flash-attn is compiled for a GPU while it is installed; the others are for working on the project."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The source archive, and the wheel that is made of it, as installers make it."""
    for module in ("build", "hatchling"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"building needs {module}: pip install neobert[test]")
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (source,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return source, wheel


@pytest.fixture(scope="module")
def installed(built: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a fresh environment with the wheel in it. Its libraries are those of this one, by their path: a
    path's own .pth files are not followed, so no checkout is on it."""
    folder = tmp_path_factory.mktemp("fresh")
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    (folder / "lib" / version / "site-packages" / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-deps", "--no-index"]
    done = subprocess.run([*command, "--ignore-installed", str(built[1])], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "bin"


def test_what_they_hold(built: tuple[Path, Path]) -> None:
    source, wheel = built
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for path in ("docs", "tests", "recipes", "core/neobert"):
        assert {str(file.relative_to(ROOT)) for file in (ROOT / path).rglob("*.*") if _is_ours(file)} <= names
    assert {"CITATION.cff", "LICENSE", "constraints.txt", "CHANGELOG.md"} <= names
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
        metadata = Parser().parsestr(archive.read(f"neobert-{PROJECT['version']}.dist-info/METADATA").decode())
    packages = {
        str(file.relative_to(ROOT / root))
        for root, package in (("core", "neobert"), ("plugins", "neobert_plugins"))
        for file in (ROOT / root / package).rglob("*.*")
        if _is_ours(file)
    }
    assert packages <= held
    assert {"neobert/py.typed", "neobert/recipe/published.toml", "neobert/shipped_recipes/pretrain.toml"} <= held
    assert not any(name.startswith(("tests", "docs")) for name in held)
    assert set(metadata.get_all("Provides-Extra")) == set(PROJECT["optional-dependencies"])
    assert metadata["License-Expression"] == "MIT"


def _is_ours(file: Path) -> bool:
    return file.is_file() and "__pycache__" not in file.parts and not file.name.endswith(".pyc")


def test_the_main_job_runs_with_no_checkout(installed: Path, tmp_path: Path) -> None:
    variables = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "NEOBERT_PLUGINS")}

    def run(*words: str | Path) -> str:
        done = subprocess.run(
            list(map(str, words)), cwd=tmp_path, env=variables, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = run(installed / "python", "-c", "import neobert, neobert_plugins as p; print(neobert.__file__, p.__file__)")
    assert all(Path(file).is_relative_to(installed.parent) for file in where.split())
    said = run(installed / "neobert-run", "pretrain", "--trainer.max_steps=3", "--trainer.eval_max_batches=2")
    assert "below unigram" in said
    folder = tmp_path / "runs/pretrain"
    assert json.loads((folder / "summary.json").read_text())["step"] == 3
    assert (folder / "model_checkpoints/3/model.safetensors").is_file()
    assert f"neobert {PROJECT['version']}" in run(installed / "neobert-run", "--version")


def test_all_is_every_extra_that_installs_anywhere() -> None:
    extras = PROJECT["optional-dependencies"]
    (everything,) = map(Requirement, extras["all"])
    assert everything.extras == extras.keys() - NOT_IN_ALL


def test_the_citation_is_of_this_version() -> None:
    said = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (said["version"], said["license"]) == (PROJECT["version"], PROJECT["license"])
    assert {"cff-version", "message", "title", "authors"} <= said.keys()
    assert said["version"] in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").split("\n## ")[1]


def test_the_support_page_has_the_ranges_that_are_declared() -> None:
    page = (ROOT / "docs" / "support.md").read_text(encoding="utf-8")
    tested = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    tested = {name.lower().replace("_", "-"): version for name, version in tested.items()}
    for requirement in map(Requirement, PROJECT["dependencies"]):
        (bound,) = requirement.specifier
        row = f"| {requirement.name} | {bound.version} | {tested[requirement.name.lower()]} |"
        assert row in page, row
    assert f"Python {PROJECT['requires-python'].removeprefix('>=')} and newer" in page
