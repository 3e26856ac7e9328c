"""What a command line means."""

from __future__ import annotations

from pathlib import Path

import pytest

from neobert import commands
from neobert.commands.arguments import Arguments, UsageError, parse
from neobert.commands.flags import FLAGS
from neobert.kinds import KINDS
from neobert.recipe.overrides import TABLES, is_override


def test_a_recipe_and_overrides():
    arguments = parse(
        [
            "r.toml",
            "--trainer.max_steps",
            "2000",
            "--loss=own",
            "--optimizer.lr",
            "-1e-3",
            "--trackers",
            "[]",
        ]
    )
    assert (arguments.command, arguments.path) == ("train", "r.toml")
    expected = (
        "--trainer.max_steps",
        "2000",
        "--loss=own",
        "--optimizer.lr",
        "-1e-3",
        "--trackers",
        "[]",
    )
    assert arguments.overrides == expected


def test_the_recipe_may_come_last():
    arguments = parse(["--trainer.seed", "-5", "--check", "r.toml"])
    assert (arguments.command, arguments.path) == ("check", "r.toml")
    assert arguments.overrides == ("--trainer.seed", "-5")


def test_a_missing_value_is_left_to_the_recipe():
    arguments = parse(["r.toml", "--trainer.seed", "--loss", "own", "--model.ngpt"])
    assert arguments.overrides == ("--trainer.seed", "--loss", "own", "--model.ngpt")


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        ([], "which recipe"),
        (["--check"], "which recipe"),
        (["a.toml", "b.toml"], "'b.toml' is too much"),
        (["r.toml", "trainer.seed=3"], "an override begins with --"),
        (["--list-plugin"], "did you mean --list-plugins"),
        (["r.toml", "--chek"], "did you mean --check"),
        (["r.toml", "--optimiser", "adamw"], "did you mean --optimizer"),
        (["r.toml", "--datset={}"], "did you mean --dataset"),
        (["r.toml", "--max_steps", "3"], "did you mean --trainer.max_steps"),
        (["r.toml", "--max-seq-length=3"], "did you mean --dataset.max_seq_length"),
        (["r.toml", "--xyzzy"], "unknown flag --xyzzy"),
        (["r.toml", "-x"], "unknown flag -x"),
        (["--kind", "loss", "r.toml"], "--kind goes with --list-plugins"),
        (["r.toml", "--json"], "--json goes with --list-plugins"),
        (["--list-plugins", "--kind"], "--kind needs KIND"),
        (["--list-plugins", "r.toml"], "--list-plugins takes no recipe"),
        (["--list-plugins", "--loss", "x"], "--list-plugins takes no recipe"),
        (["--list-plugins=1"], "takes no value"),
        (["--check", "r.toml", "--check"], "given twice"),
        (["--explain", "loss.x", "--version"], "exclude each other"),
        (["--export", "one"], "--export needs CHECKPOINT and FOLDER"),
    ],
)
def test_what_cannot_be_meant(tokens, expected):
    with pytest.raises(UsageError) as caught:
        parse(tokens)
    assert expected in str(caught.value)


def test_flags_take_their_values():
    assert parse(["--export", "a", "b"]).given == {"--export": ("a", "b")}
    assert parse(["--list-plugins", "--kind=loss", "--json"]).value("--kind") == "loss"
    assert parse(["--explain=loss.x"]).command == "explain"


@pytest.mark.parametrize("tokens", [["-h"], ["r.toml", "--nonsense", "--help"]])
def test_help_wins(tokens):
    assert parse(tokens).command == "help"


def test_the_tools_flags_and_the_recipes_keys_are_two_sets():
    names = {flag.name for flag in FLAGS}
    assert not [name for name in names if is_override(name)]
    assert not names & {f"--{table}" for table in (*TABLES, "objectives", "extends", *KINDS)}
    assert not [name for name in names if "." in name]


def test_every_command_has_a_module():
    named = {flag.command for flag in FLAGS if flag.command} | {Arguments().command}
    modules = {path.stem for path in Path(commands.__file__).parent.glob("*.py")}
    assert named <= modules
