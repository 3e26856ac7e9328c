"""A new plugin of each kind is complete: its own tests pass, it is found, and it trains."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder
from rich.console import Console

from neobert.kinds import KINDS
from neobert.scaffold.render import TEMPLATES

WORDS = ("plugin-distribution", "plugin_", "PluginOptions")

SMALL = (
    "--model.hidden_size=16",
    "--model.intermediate_size=32",
    "--model.num_hidden_layers=2",
    "--dataset.path=*.md",
    "--dataset.max_seq_length=32",
    "--scheduler.cycles=2",
    "--trainer.max_steps=3",
    "--trainer.save_steps=2",
    "--trainer.logging_steps=1",
    "--trainer.per_device_train_batch_size=2",
    "--trainer.num_threads=1",
    "--trainer.use_cpu=true",
    "--trainer.output_dir=run",
)


def test_there_are_templates_of_every_kind():
    assert {path.name for path in TEMPLATES.iterdir()} - {"common"} == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_every_file_is_there_and_no_word_of_the_templates_is_left(written: dict[str, Path], kind: str):
    folder = written[kind]
    texts = {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}
    package = folder.name.replace("-", "_")
    module = next(path for path in (TEMPLATES / kind / "src/plugin_package").glob("*.py") if path.stem != "plugin")
    expected = {"LICENSE", "README.md", ".gitignore", ".github/workflows/test.yml", "pyproject.toml", "recipe.toml"}
    expected |= {f"src/{package}/{name}" for name in ("__init__.py", "py.typed", "plugin.py", module.name)}
    assert {name for name in texts if ".dist-info" not in name} == expected | {"tests/test_plugin.py"}
    left = [(name, word) for name, text in texts.items() for word in WORDS if word in text.replace("test_plugin", "")]
    assert left == []


def test_their_own_tests_pass(written: dict[str, Path], sources: list[str]):
    """As their authors run them, all in one process to spare its start."""
    path = os.pathsep.join([*sources, os.environ.get("PYTHONPATH", "")])
    variables = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    folders = [str(folder / "tests") for folder in written.values()]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--import-mode=importlib", *folders]
    done = subprocess.run(command, capture_output=True, text=True, env=variables, check=False, cwd=Path(folders[0]))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped" not in done.stdout


def test_they_are_tidy(written: dict[str, Path]):
    for command in (["check"], ["format", "--check"]):
        folders = [str(folder) for folder in written.values()]
        ruff = [sys.executable, "-m", "ruff", *command, "--no-cache", *folders]
        done = subprocess.run(ruff, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.usefixtures("installed")
def test_they_are_found_and_their_recipes_name_them(written: dict[str, Path], monkeypatch: pytest.MonkeyPatch):
    from neobert.recipe import load_recipe
    from neobert.registry import default_registry

    registry = default_registry()
    assert registry.broken == ()
    for kind, folder in written.items():
        name = folder.name.replace("-", "_")
        plugin = registry.usable(kind, name)
        assert plugin.distribution == folder.name
        assert plugin.summary in (folder / "README.md").read_text()
        monkeypatch.chdir(folder)
        text = load_recipe("recipe.toml").to_toml()
        assert f'"{name}"' in text


@pytest.mark.usefixtures("installed")
def test_a_run_of_all_of_them_at_once(written: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Each beside the others, through the whole loop: built, trained with, saved by, resumed from."""
    from neobert.recipe import load_recipe
    from neobert.training.run import run

    monkeypatch.chdir(tmp_path)
    for number in range(3):
        parts = range(9 * number, 9 * number + 9)
        text = "".join(f"# Part {part}\n\n{'words of it ' * (part + 2)}\n\n" for part in parts)
        (tmp_path / f"{number}.md").write_text(text)
    names = {kind: folder.name.replace("-", "_") for kind, folder in written.items()}
    keys = {"attn_backend": "model.attn_backend", "tracker": "trackers"}
    said = names | {"tracker": f'["jsonl", "{names["tracker"]}"]'}
    parts = [f"--{keys.get(kind, kind)}={value}" for kind, value in said.items()]
    states = []
    for more in ([], ["--trainer.resume_from_checkpoint=2"]):
        text = io.StringIO()
        recipe = load_recipe(written["tracker"] / "recipe.toml", [*parts, *SMALL, *more])
        assert run(recipe, Console(file=text, width=200)) == 0, text.getvalue()
        states.append((tmp_path / "run" / "checkpoints" / "3" / "state.safetensors.gz").read_bytes())
    assert states[0] == states[1]
    rows = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    assert rows[0] == "step,name,value"
    assert [row for row in rows if row.startswith("3,train/loss")]


def test_one_installs_as_a_wheel(written: dict[str, Path], tmp_path: Path):
    """Built and installed by the tools that authors use, without asking an index."""
    folder = written["scheduler"]
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(folder)]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    target = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", str(target)]
    install.append(str(wheel))
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    path = os.pathsep.join([str(target), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "neobert.cli", "--list-plugins", "--kind", "scheduler"]
    variables = {key: value for key, value in os.environ.items() if key != "NEOBERT_PLUGINS"} | {"PYTHONPATH": path}
    listed = subprocess.run(command, capture_output=True, text=True, env=variables, check=False)
    (line,) = [line for line in listed.stdout.splitlines() if folder.name in line]
    assert line.split("\t")[1] == folder.name.replace("-", "_")
    assert line.endswith("usable")
    with zipfile.ZipFile(wheel) as archive:
        assert any(name.endswith("licenses/LICENSE") for name in archive.namelist())


def test_the_wheel_has_every_template_as_it_is(tmp_path: Path):
    """Hidden ones too, and none that a packager would leave out."""
    root = TEMPLATES.parents[3]
    (wheel,) = WheelBuilder(str(root)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if "/scaffold/templates/" in name}
        found = {name.partition("/templates/")[2]: archive.read(name) for name in names}
    here = {
        path.relative_to(TEMPLATES).as_posix(): path.read_bytes() for path in TEMPLATES.rglob("*") if path.is_file()
    }
    assert found == {name: content for name, content in here.items() if "__pycache__" not in name}
