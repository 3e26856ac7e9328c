"""The effective recipe says everything, and loads again to an equal recipe."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomli
from hypothesis import given, settings
from hypothesis import strategies as st

from neobert.recipe import Recipe, load_recipe
from neobert.toml_text import toml_text

if TYPE_CHECKING:
    import pytest

    from neobert.registry import Registry

Load = Callable[..., Recipe]

WORDS = st.text(max_size=8)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "text": WORDS,
    "number": st.integers(1, 10**25).filter(lambda number: number != 13),
    "rate": st.floats(min_value=1e-300, allow_infinity=False),
    "anything": st.floats(allow_nan=False),
    "flag": st.booleans(),
    "choice": st.sampled_from(["no", "yes", "2"]),
    "mixed": st.sampled_from(["a", 1]),
    "maybe": st.integers(),
    "maybe_five": st.integers(),
    "either": WORDS | st.integers(),
    "names": st.lists(WORDS, max_size=3),
    "items": st.lists(st.integers(), max_size=3),
    "betas": st.tuples(FLOATS, FLOATS).map(list),
    "table": st.dictionaries(WORDS, st.integers(), max_size=3),
    "inner": st.fixed_dictionaries({}, optional={"a": st.integers(), "b": WORDS}),
    "maybe_inner": st.fixed_dictionaries({}, optional={"a": st.integers(), "b": WORDS}),
    "inners": st.lists(st.fixed_dictionaries({}, optional={"a": st.integers(), "b": WORDS}), max_size=2),
    "inner_by_name": st.dictionaries(WORDS, st.fixed_dictionaries({"a": st.integers()}), max_size=2),
    "folder": st.text("ab/.", min_size=1, max_size=5),
    "colour": st.sampled_from(["red", "blue"]),
    "picked": st.sampled_from(["a", "b"]),
}
BACKENDS = st.deferred(
    lambda: (
        st.sampled_from(["sdpa", "eager", "flex"])
        | st.fixed_dictionaries({"name": st.just("flex"), "mask": WORDS}, optional={"block_size": st.integers(1, 9)})
        | st.fixed_dictionaries(
            {"name": st.just("wrapping")},
            optional={
                "inner": BACKENDS,
                "stages": st.lists(BACKENDS, max_size=2),
                "by_layer": st.dictionaries(WORDS, BACKENDS, max_size=2),
            },
        )
    )
)
TRACKERS = st.lists(
    st.just("jsonl")
    | st.fixed_dictionaries({"name": st.just("board")}, optional={"folder": WORDS, "every": st.integers(1)}),
    max_size=3,
)
UNSETTABLE = ["dataset.maybe", "dataset.maybe_five", "dataset.either", "dataset.inner.b", "dataset.table.one",
              "trainer.gradient_clipping", "dataset.maybe_inner"]  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(
    st.fixed_dictionaries({}, optional=VALUES),
    BACKENDS,
    TRACKERS,
    st.lists(st.sampled_from(UNSETTABLE), unique=True, max_size=4),
)
def test_any_recipe_survives_being_written(
    registry: Registry,
    tmp_path_factory: pytest.TempPathFactory,
    dataset: dict[str, Any],
    backend: Any,
    trackers: Any,
    unset: list[str],
) -> None:
    folder = tmp_path_factory.mktemp("recipes")
    lines = [
        f"trackers = {toml_text(trackers)}",
        f"model = {{ attn_backend = {toml_text(backend)} }}",
        "[dataset]",
    ]
    lines += ['name = "everything"', *(f"{key} = {toml_text(value)}" for key, value in dataset.items())]
    (folder / "recipe.toml").write_text("\n".join(lines), encoding="utf-8", newline="\n")
    tokens = [f"--{key}=none" for key in unset]
    recipe = load_recipe(folder / "recipe.toml", tokens, registry=registry)
    (folder / "written.toml").write_text(recipe.to_toml(), encoding="utf-8", newline="\n")
    again = load_recipe(folder / "written.toml", registry=registry)
    assert again == recipe
    assert again.flat() == recipe.flat(absolute=True)
    assert again.to_toml() == recipe.to_toml()
    for key in unset:
        assert again.flat().get(key) is None


def test_every_value_is_written_and_unset_ones_are_comments(load: Load) -> None:
    recipe = load('[dataset]\nname = "disk"\npath = "data"\n[trainer]\nseed = 3\n')
    text = recipe.to_toml()
    tree = tomli.loads(text)
    for key, value in recipe.flat(absolute=True).items():
        place: Any = tree
        *parents, last = key.split(".")
        for name in parents:
            place = place[int(name)] if name.isdecimal() else place.get(name, {})
        assert place.get(last, {} if value == {} else None) == value
        if value is None:
            assert f"# {last} =" in text
    assert "unset" not in tree


def test_paths_are_absolute_and_nothing_else_is(load: Load) -> None:
    Path("here").mkdir()
    recipe = load(
        '[dataset]\nname = "everything"\ntext = "here"\nhub_or_folder = "here"\n'
        '[trainer]\noutput_dir = "../runs/x"\n'
        'resume_from_checkpoint = "latest"\n[model]\nweights = "w.safetensors"\n'
    )
    written = tomli.loads(recipe.to_toml())
    here = os.getcwd()
    assert written["trainer"]["output_dir"] == os.path.join(os.path.dirname(here), "runs/x")
    assert written["trainer"]["resume_from_checkpoint"] == "latest"
    assert written["model"]["weights"] == f"{here}/w.safetensors"
    assert written["dataset"]["hub_or_folder"] == f"{here}/here"
    assert written["dataset"]["folder"] == f"{here}/somewhere"
    assert written["dataset"]["text"] == "here"
    assert recipe.trainer.output_dir == "../runs/x"
    away = load('[dataset]\nname = "everything"\n')
    assert tomli.loads(away.to_toml())["dataset"]["hub_or_folder"] == "org/name"


def test_the_written_recipe_does_not_depend_on_the_working_directory(
    load: Load, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = load('[dataset]\nname = "disk"\npath = "data"\n')
    (tmp_path / "written.toml").write_text(recipe.to_toml())
    flat = recipe.flat(absolute=True)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert load_recipe("../written.toml", registry=registry).flat(absolute=True) == flat


def test_it_runs_again_with_another_output_dir(load: Load, registry: Registry) -> None:
    recipe = load('[dataset]\nname = "plain"\n')
    Path("written.toml").write_text(recipe.to_toml())
    again = load_recipe("written.toml", ["--trainer.output_dir", "other"], registry=registry)
    assert again.trainer.output_dir == "other"
    assert again != recipe


def test_a_tilde_is_the_home_folder_in_paths_alone(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    recipe = load(
        '[dataset]\nname = "disk"\npath = "~/data"\n', "--trainer.output_dir=~/runs", "--dataset.text_column=~/t"
    )
    assert recipe.dataset.options.path == "/home/somebody/data"
    assert recipe.trainer.output_dir == "/home/somebody/runs"
    assert recipe.dataset.text_column == "~/t"
