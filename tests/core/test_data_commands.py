"""``--show-batch``, ``--data-report`` and ``--audit-data``: a run's data, seen without running it."""

from __future__ import annotations

from pathlib import Path

import pytest

from neobert.cli import main
from neobert.commands.arguments import UsageError, parse


@pytest.fixture
def say(workdir, capfd):
    """``say("--show-batch", ...)``: the exit status and stdout of a command on the tiny recipe."""

    def run(*tokens):
        capfd.readouterr()
        status = main(("recipe.toml", *tokens))
        return status, capfd.readouterr().out

    return run


def test_the_first_batches_are_those_that_a_run_trains_on(say):
    status, said = say("--show-batch", "3")
    assert status == 0
    assert [line for line in said.splitlines() if line.startswith("step")] == [
        "step 0, micro-batch 0",
        "step 0, micro-batch 1",
        "step 1, micro-batch 0",
    ]
    assert "[MASK→" in said
    assert "[CLS]" in said
    assert "fill " in said
    assert say("--show-batch")[1] == said[: said.index("step 0, micro-batch 1")]
    assert say("--show-batch", "--dataset.num_workers=2")[1] == say("--show-batch=1")[1]
    assert not Path("run").exists()


def test_markup_in_data_is_text(say):
    text = "the [bold red]list[/] of [link=x]all[/link] items \x1b[31m is returned\n"
    Path("corpus.txt").write_text(text * 40, encoding="utf-8")
    said = say("--show-batch", "--datacollator.mlm_probability=0.01")[1]
    assert "\x1b" not in said
    assert "bold red" in said


def test_the_report(say):
    status, said = say("--data-report", "--trainer.max_steps=50")
    assert status == 0
    for fragment in (
        "112 documents, ",
        "split",
        "tokens a document: shortest 2,",
        "####",
        "padding: ",
        "an epoch: about ",
        "steps of 2 micro-batches",
        "trainer.max_steps = 50: about ",
        "evaluation data\n  8 documents, ",
    ):
        assert fragment in said
    assert "padding: none" in say("--data-report", "--datacollator.pack_sequences=false")[1]
    assert "first window of the stream" in say("--data-report", "--dataset.streaming=true")[1]


def test_the_audit(say):
    status, said = say("--audit-data", "40")
    assert status == 0
    assert "3 complete epochs" in said
    assert said.endswith("every token came as often as it should\n")
    lines = Path("corpus.txt").read_text(encoding="utf-8").splitlines()
    Path("corpus.txt").write_text("\n".join([*lines, lines[0]]) + "\n", encoding="utf-8")
    status, said = say("--audit-data", "40")
    assert status == 1
    assert "FAULT: 1 documents that are evaluated on and trained on: document 112 is evaluation row 0" in said


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (("--audit-data",), "needs STEPS"),
        (("r.toml", "--audit-data", "3", "--show-batch"), "exclude each other"),
        (("--show-batch",), "which recipe"),
        (("r.toml", "--data-report=3"), "takes no value"),
    ],
)
def test_command_lines_that_cannot_be_meant(tokens, message):
    with pytest.raises(UsageError, match=message):
        parse(tokens)


def test_the_number_of_batches_may_be_left_out():
    assert parse(("r.toml", "--show-batch")).given == {"--show-batch": ()}
    assert parse(("--show-batch", "r.toml")).recipe == "r.toml"
    assert parse(("--show-batch", "2", "r.toml", "--trainer.seed", "3")).value("--show-batch") == "2"
    assert parse(("r.toml", "--show-batch=2")).command == "show_batch"


@pytest.mark.parametrize("tokens", [("--show-batch=0",), ("--show-batch=many",), ("--audit-data", "0")])
def test_numbers_that_are_none(say, tokens):
    assert say(*tokens)[0] == 2
