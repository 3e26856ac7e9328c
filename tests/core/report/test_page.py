"""``--report``: one page that needs nothing else, with all that a run's folder has, whatever became of the run."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from neobert.cli import main

Say = pytest.CaptureFixture[str]
VOID = {"meta", "link", "br", "hr", "img", "input", "path"}
EVIL = '"><img src=x onerror="alert(1)"><script>alert(2)</script>'


class Page(HTMLParser):
    """Checks that every element is closed, and collects elements, text, and what elements point to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.names: list[str] = []
        self.text = ""
        self.points_to: list[str] = []
        self.ids: list[str] = []
        self.points: list[int] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            assert not name.startswith("on"), (tag, name)
            if name in ("src", "href", "action", "xlink:href"):
                self.points_to.append(str(value))
            if name == "id":
                self.ids.append(str(value))
            if name == "data-points":
                self.points.append(int(str(value)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.text += data


def report(*words: str | Path) -> Page:
    assert main(("--report", *map(str, words))) == 0
    file = Path(str(words[-1])) if "--output" in words else Path(str(words[0]), "report.html")
    return Page(file.read_text(encoding="utf-8"))


def copied(run: Path, folder: Path) -> Path:
    shutil.copytree(run, folder)
    return folder


def test_a_page_has_all_that_the_folder_has(runs: Path, tmp_path: Path) -> None:
    page = report(runs / "mixed", "--output", tmp_path / "page.html")
    for text in (
        "finished at step 8 of 8",
        "masked_lm on mix",
        "Learning curve",
        "Held-out loss by position",
        "Held-out loss by source",
        "Gradient norm",
        "Learning rate",
        "Tokens a second",
        "unigram model",
        "Mixture",
        "How long documents are",
        "<b>bodies</b>",
        "resumed",
        "superseded/001 holds",
        "log lines of steps 5 to 6",
        "trainer.max_steps",
        "transformers",
        "seed = 42",
    ):
        assert text in page.text, text
    logged = [json.loads(line) for line in (runs / "mixed" / "metrics.jsonl").read_text().splitlines()]
    steps = sum("train/loss" in line for line in logged)
    assert page.points.count(steps) >= 5, "loss, rate, norm, speed and waiting have a point for each log line"
    assert page.points.count(sum("eval/loss" in line for line in logged)) >= 5


def test_a_page_points_to_nothing_outside_of_it(runs: Path, tmp_path: Path) -> None:
    for names in (("mixed",), ("objectives",), ("mixed", "objectives")):
        file = tmp_path / f"{'-'.join(names)}.html"
        page = report(*(runs / name for name in names), "--output", file)
        assert {it for it in page.points_to if not it.startswith("#")} == {"data:,"}
        assert {it.removeprefix("#") for it in page.points_to if it.startswith("#")} <= set(page.ids)
        assert len(set(page.ids)) == len(page.ids)
        assert "@import" not in file.read_text()
        assert not re.search(r"url\(", file.read_text())


def test_objectives_have_curves_and_tables_of_their_own(runs: Path, tmp_path: Path) -> None:
    page = report(runs / "objectives", "--output", tmp_path / "page.html")
    for text in ("Loss · mlm", "Loss · pairs", "Held out · pairs", "TF-IDF", "BM25", "with those that are trained on"):
        assert text in page.text, text


def test_several_runs_lie_over_each_other(runs: Path, tmp_path: Path) -> None:
    other = copied(runs / "mixed", tmp_path / "other")
    (other / "recipe.toml").write_text((other / "recipe.toml").read_text().replace("seed = 42", "seed = 43"))
    page = report(runs / "mixed", other, "--output", tmp_path / "page.html")
    for text in ("2 runs", "Side by side", "How the recipes differ", "trainer.seed", "Held-out loss", "Training loss"):
        assert text in page.text, text


def test_text_of_users_is_text(runs: Path, tmp_path: Path) -> None:
    run = copied(runs / "mixed", tmp_path / "<img src=x>")
    recipe = (run / "recipe.toml").read_text()
    (run / "recipe.toml").write_text(recipe.replace('name = "muon"', f"name = '''{EVIL}'''"))
    with (run / "metrics.jsonl").open("a") as file:
        for step in (9, 10, 11):
            file.write(json.dumps({"step": step, f"eval/{EVIL}": float(step), EVIL: step * 2.0}) + "\n")
    (run / "events.jsonl").write_text(json.dumps({"event": EVIL, "step": 1, "reason": EVIL}) + "\n")
    (run / "environment.json").write_text(json.dumps({EVIL: EVIL, "libraries": {EVIL: EVIL}}))
    page = report(run)
    assert page.text.count(EVIL) >= 7
    assert "img" not in page.names
    assert page.names.count("script") == 1


@pytest.mark.parametrize("state", ["running", "killed", "torn", "old"])
def test_a_run_in_any_state_has_a_page_that_says_so(runs: Path, tmp_path: Path, state: str, capsys: Say) -> None:
    run = copied(runs / "mixed", tmp_path / "run")
    (run / "summary.json").unlink()
    handle = os.open(run / ".lock", os.O_RDWR | os.O_CREAT)
    if state == "running":
        fcntl.flock(handle, fcntl.LOCK_EX)
        expected = "Still running, at step 8 of 8"
    elif state == "killed":
        (run / "heartbeat.json").unlink()
        expected = "Killed, or its machine was lost, at about step 8 of 8"
    elif state == "torn":
        with (run / "metrics.jsonl").open("a") as file:
            file.write('{"step": 9, "train/lo')
        expected = "The last line of metrics.jsonl is cut short"
    else:
        (run / "events.jsonl").unlink()
        (run / "data.json").unlink()
        expected = "finished at step 8"
    page = report(run)
    os.close(handle)
    assert expected in page.text
    assert "step 8" in page.text
    assert ("cut short" in capsys.readouterr().out) == (state == "torn")


def test_a_page_is_written_again_and_nothing_else_is_overwritten(runs: Path, tmp_path: Path, capsys: Say) -> None:
    run = copied(runs / "mixed", tmp_path / "run")
    report(run)
    report(run)
    mine = tmp_path / "mine.html"
    mine.write_text("mine")
    for words, expected in (
        ((run, "--output", mine), "no page of --report"),
        ((run, "--output", tmp_path), "it is a folder"),
        ((run, "--output", tmp_path / "no" / "page.html"), "there is no folder"),
        ((run, runs / "objectives"), "needs --output FILE"),
        ((tmp_path / "nowhere",), "there is no run at"),
    ):
        capsys.readouterr()
        assert main(("--report", *map(str, words))) == 2
        assert expected in capsys.readouterr().err
    assert mine.read_text() == "mine"


def test_damaged_files_are_named(runs: Path, tmp_path: Path, capsys: Say) -> None:
    for name, text, expected in (
        ("summary.json", "{", "summary.json is damaged"),
        ("recipe.toml", "a = ", "recipe.toml is damaged"),
        ("recipe.toml", None, "has no recipe.toml"),
        ("metrics.jsonl", "", "holds no line with a step and a number"),
    ):
        run = copied(runs / "mixed", tmp_path / f"{name}-{text}".replace("/", ""))
        (run / name).unlink()
        if text is not None:
            (run / name).write_text(text)
        assert main(("--report", str(run))) == 2
        assert expected in capsys.readouterr().err


def test_a_recipe_whose_plugins_are_elsewhere_is_shown_as_it_is(runs: Path, tmp_path: Path) -> None:
    run = copied(runs / "mixed", tmp_path / "run")
    recipe = (run / "recipe.toml").read_text()
    (run / "recipe.toml").write_text(recipe.replace('name = "muon"', 'name = "theirs"'))
    page = report(run)
    assert "what is not a default cannot be told here" in page.text
    assert 'name = "theirs"' in page.text


def test_what_is_not_a_default_is_what_the_recipe_said(runs: Path) -> None:
    from neobert.recipe import load_recipe
    from neobert.report.chosen import chosen_keys

    chosen, why = chosen_keys(runs / "objectives" / "recipe.toml")
    assert why == ""
    assert chosen is not None
    recipe = load_recipe(runs / "objectives" / "recipe.toml")
    assert {"model.hidden_size", "optimizer.name", "trainer.max_steps", "objectives.pairs.loss.temperature"} <= chosen
    assert not {"model.attn_backend.name", "optimizer.lr", "trainer.seed", "checkpointer.name", "model.name"} & chosen
    assert chosen <= set(recipe.flat())
