"""``neobert-run --new-plugin``: what it says, and what it refuses."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from neobert.cli import main
from neobert.errors import UserError
from neobert.scaffold import Names, names_for, write_plugin
from neobert.scaffold import render as rendering
from neobert.scaffold import write as writing
from neobert.scaffold.render import with_part


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def answer(capsys: pytest.CaptureFixture[str], *tokens: str, status: int = 0) -> str:
    assert main(tokens) == status
    said = capsys.readouterr()
    return said.err if status else said.out


def test_it_says_what_was_written_and_what_to_do_next(capsys: pytest.CaptureFixture[str]):
    said = answer(capsys, "--new-plugin", "my-window", "--kind", "attn_backend")
    assert said.startswith(
        "wrote my-window: attn_backend my_window, in the distribution my-window (package my_window)\n"
    )
    assert said.endswith(
        "next:\n  cd my-window\n  pip install -e '.[test]' && python -m pytest\n  neobert-run recipe.toml\n"
    )
    files = [line.strip() for line in said.partition("next:")[0].splitlines()[1:]]
    assert {"pyproject.toml", "recipe.toml", "src/my_window/plugin.py", "tests/test_plugin.py"} <= set(files)
    assert all(Path("my-window", file).is_file() for file in files)


def test_a_folder_of_its_own_and_an_empty_one(capsys: pytest.CaptureFixture[str]):
    Path("some").mkdir()
    assert "cd 'some/a folder'" in answer(capsys, "--new-plugin", "one", "some/a folder", "--kind=loss")
    Path("empty").mkdir()
    answer(capsys, "--new-plugin", "two", "--kind", "loss", "empty")
    assert Path("empty/src/two/plugin.py").is_file()


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("my-window", Names("my-window", "my_window", "my_window", "MyWindowOptions")),
        ("neobert-focal", Names("neobert-focal", "neobert_focal", "focal", "FocalOptions")),
        ("A.b_c2", Names("A.b_c2", "a_b_c2", "a_b_c2", "ABC2Options")),
        ("plugin_name", Names("plugin_name", "plugin_name", "plugin_name", "PluginNameOptions")),
    ],
)
def test_names(name: str, names: Names):
    assert names_for(name) == names


def test_a_name_that_is_a_word_of_the_templates_stays_one():
    write_plugin("plugin_kind", "loss")
    assert '{"plugin_kind": PluginKindOptions}' in Path("plugin_kind/src/plugin_kind/plugin.py").read_text()


REFUSED = {
    "no kind": (["my-window"], "--new-plugin needs --kind KIND: dataset, tokenizer"),
    "unknown kind": (["my-window", "--kind", "optimiser"], 'did you mean "optimizer"?'),
    "no name": (["my window!", "--kind", "loss"], "did you mean my-window?"),
    "a digit first": (["3-windows", "--kind", "loss"], "did you mean windows?"),
    "dashes": (["--", "--kind", "loss"], "--new-plugin needs NAME"),
    "empty": (["", "--kind", "loss"], "is no name of a distribution"),
    "a path": (["../window", "--kind", "loss"], "did you mean window?"),
    "a keyword": (["lambda", "--kind", "loss"], "lambda is a word of the Python language"),
    "the standard library's": (["json", "--kind", "loss"], "json is a module of Python's standard library"),
    "a folder's": (["tests", "--kind", "loss"], "tests is the name of a folder beside the package"),
    "installed": (["torch", "--kind", "loss"], "a distribution torch is installed here"),
    "another's package": (["neobert-plugins", "--kind", "loss"], "there is a package neobert_plugins here"),
    "taken": (["masked-lm", "--kind", "loss"], 'the name "masked_lm" is taken for kind loss, by neobert'),
    "taken, prefixed": (["neobert-sdpa", "--kind", "attn_backend"], "did you mean my-neobert-sdpa?"),
    "two folders": (["one", "a", "b", "--kind", "loss"], "'b' is too much"),
    "an override": (["one", "--kind", "loss", "--trainer.seed", "1"], "takes no recipe and no overrides"),
    "a full folder": (["one", "full", "--kind", "loss"], "full is there already, and holds file"),
    "a file": (["one", "full/file", "--kind", "loss"], "full/file is a file: name another folder"),
    "below a file": (["one", "full/file/x", "--kind", "loss"], "full/file is a file, so full/file/x can be no folder"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(capsys: pytest.CaptureFixture[str], case: str):
    Path("full").mkdir()
    Path("full/file").write_text("theirs")
    tokens, expected = REFUSED[case]
    assert expected in answer(capsys, "--new-plugin", *tokens, status=2)
    assert [path.name for path in Path().rglob("*")] == ["full", "file"]


def test_all_that_is_wrong_comes_at_once(capsys: pytest.CaptureFixture[str]):
    Path("file").write_text("theirs")
    said = answer(capsys, "--new-plugin", "masked-lm", "--kind", "loss", "file", status=2)
    assert "is taken" in said
    assert "file is a file" in said


@pytest.mark.parametrize("there", [False, True])
def test_a_disk_that_refuses_leaves_nothing(monkeypatch: pytest.MonkeyPatch, there: bool):
    if there:
        Path("one").mkdir()
    files = writing.rendered(names_for("one"), "loss")
    monkeypatch.setattr(writing, "rendered", lambda names, kind: {**files, "x" * 300: "no name can be so long"})
    with pytest.raises(OSError, match="too long"):
        write_plugin("one", "loss")
    assert list(Path().rglob("*")) == ([Path("one")] if there else [])


def test_without_an_installed_core_nothing_is_written(monkeypatch: pytest.MonkeyPatch):
    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(rendering, "version", missing)
    with pytest.raises(UserError, match="pip install -e"):
        write_plugin("one", "loss")
    assert list(Path().iterdir()) == []


def test_a_recipe_s_part_stands_for_a_table_that_names_a_plugin():
    recipe = '# on top\na = 1\n\n[model]\nsize = 2\n\n[loss]\nname = "old"\nkey = 1\n'
    assert with_part(recipe, "[model]\nheads = 3\n") == recipe.replace("size = 2\n", "size = 2\nheads = 3\n")
    assert with_part(recipe, '[loss]\nname = "new"\n') == recipe.replace('"old"\nkey = 1', '"new"')
    assert with_part(recipe, '[more]\nname = "x"\n') == recipe + '\n[more]\nname = "x"\n'
    assert with_part(recipe, "a = 2\n") == recipe.replace("a = 1", "a = 2")
