"""The example distribution in docs/plugin_example: built into a wheel, installed, found and named."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[1] / "docs" / "plugin_example"

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def example_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the contents of the example's wheel, as an installer would lay them out."""
    for module in ("build", "hatchling"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"building a wheel needs {module}: pip install neobert[test]")
    wheels = tmp_path_factory.mktemp("wheels")
    command = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(wheels),
        str(EXAMPLE),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = wheels.glob("*.whl")
    site = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return site


@pytest.fixture(scope="session")
def run_with_example(example_site: Path) -> Run:
    """``run_with_example(*tokens)``: runs ``neobert-run`` in a process where the example is installed."""

    def run(*tokens: str, **environment: str) -> subprocess.CompletedProcess[str]:
        variables = {
            **os.environ,
            "PYTHONPATH": str(example_site),
            "NEOBERT_PLUGINS": "example",
            **environment,
        }
        command = [sys.executable, "-m", "neobert.cli", *tokens]
        return subprocess.run(command, capture_output=True, text=True, env=variables, check=False)

    return run


def test_the_wheel_holds_the_package_and_its_entry_point(example_site: Path):
    (info,) = example_site.glob("neobert_plugin_example-*.dist-info")
    entry_points = (info / "entry_points.txt").read_text(encoding="utf-8")
    assert entry_points.split() == ["[neobert.plugins]", "example", "=", "neobert_plugin_example.plugin"]
    assert {path.name for path in example_site.iterdir()} == {info.name, "neobert_plugin_example"}


def test_it_is_listed_as_usable(run_with_example: Run):
    done = run_with_example("--list-plugins")
    assert done.returncode == 0, done.stderr
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    found = {(line[0], line[1], line[5]) for line in lines if line[2] == "neobert-plugin-example"}
    assert found == {("attn_backend", "blockwise", "usable"), ("loss", "focal_lm", "usable")}


def test_it_is_explained(run_with_example: Run):
    done = run_with_example("--explain", "attn_backend.blockwise")
    assert done.returncode == 0, done.stderr
    assert "block_size    int (>= 1)    default 128\n      queries handled at once" in done.stdout


def test_its_own_tests_pass(example_site: Path):
    """The conformance suites, as its author runs them."""
    variables = {**os.environ, "PYTHONPATH": str(example_site), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(EXAMPLE / "tests")]
    done = subprocess.run(command, capture_output=True, text=True, env=variables, check=False, cwd=EXAMPLE)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_recipe_that_names_its_parts_trains_and_exports(run_with_example: Run, workdir: Path):
    done = run_with_example(
        "recipe.toml",
        "--model.attn_backend={name = 'blockwise', block_size = 8}",
        "--model.dropout_prob=0.0",
        "--loss=focal_lm",
        NEOBERT_CACHE=os.environ["NEOBERT_CACHE"],
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "below unigram" in done.stdout
    assert (workdir / "run" / "model_checkpoints" / "6" / "model.safetensors").is_file()
    assert "blockwise" in (workdir / "run" / "recipe.toml").read_text(encoding="utf-8")
