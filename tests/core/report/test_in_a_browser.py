"""The page in Chromium: looked at in light, in dark and at the width of a phone, read with pointer and keys."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.browser import Browser, browser, missing

from neobert.cli import main

pytestmark = pytest.mark.skipif(bool(missing()), reason=f"no browser to look with: {missing()} not installed")
WIDER = """
const width = document.documentElement.clientWidth;
const inside = (it) => it.closest('.scroll, pre, .skip, .away');
const wide = [...document.querySelectorAll('body *')].filter(
  (it) => !inside(it) && it.getBoundingClientRect().right > width + 0.5);
return [document.documentElement.scrollWidth - width, wide.map((it) => it.outerHTML.slice(0, 80))];
"""
POINTS = """
return [...document.querySelectorAll('.chart')].map((chart) => [
  chart.querySelector('h3').firstChild.textContent.trim(),
  [...chart.querySelectorAll('.line')].map((it) => (it.getAttribute('d').match(/[ML]/g) || []).length)]);
"""


@pytest.fixture(scope="module")
def pages(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``one.html``, and ``two.html`` of two runs, one of them with hostile names."""
    folder = tmp_path_factory.mktemp("pages")
    other = folder / "<script>window.hacked = 1<script>"
    shutil.copytree(runs / "mixed", other)
    with (other / "metrics.jsonl").open("a") as file:
        for step in (9, 10, 11):
            evil = "</script><script>window.hacked = 1</script>"
            file.write(json.dumps({"step": step, f"eval/{evil}": step / 7, evil: "NaN"}) + "\n")
    assert main(("--report", str(runs / "mixed"), "--output", str(folder / "one.html"))) == 0
    assert main(("--report", str(runs / "mixed"), str(other), "--output", str(folder / "two.html"))) == 0
    return folder


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as opened:
        yield opened


@pytest.mark.parametrize("name", ["one", "two"])
@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 1200), ("light", 390), ("dark", 390)])
def test_it_looks_as_it_should(
    chromium: Browser, pages: Path, tmp_path: Path, name: str, scheme: str, width: int
) -> None:
    page = pages / f"{name}.html"
    chromium.requests()
    chromium.open(page, width=width, scheme=scheme)
    assert chromium.said() == []
    assert chromium.requests() == [page.as_uri()]
    assert chromium.run(WIDER) == [0, []]
    assert chromium.run("return window.hacked || null") is None
    background = chromium.run("return getComputedStyle(document.body).backgroundColor")
    shade = sum(map(int, background.removeprefix("rgb(").removesuffix(")").split(",")))
    assert (shade > 600) == (scheme == "light")
    folder = Path(os.environ.get("NEOBERT_TEST_PICTURES", tmp_path))
    picture = folder / f"{name}-{scheme}-{width}.png"
    chromium.picture(picture)
    assert picture.stat().st_size > 20_000


def test_charts_have_as_many_points_as_there_are_lines_in_the_log(chromium: Browser, pages: Path, runs: Path) -> None:
    lines = [json.loads(line) for line in (runs / "mixed" / "metrics.jsonl").read_text().splitlines()]
    logged, evaluated = (sum(name in line for line in lines) for name in ("train/loss", "eval/loss"))
    assert (logged, evaluated) == (8, 5)
    chromium.open(pages / "one.html")
    drawn = dict(chromium.run(POINTS))
    assert drawn["Loss"] == [logged, evaluated]
    for title in ("Learning rate", "Gradient norm", "Tokens a second", "Waiting for data"):
        assert drawn[title] == [logged]
    assert drawn["Held-out loss by source"] == [evaluated, evaluated]
    chromium.open(pages / "two.html")
    assert dict(chromium.run(POINTS))["Training loss"] == [logged, logged]


def test_pointer_and_keys_read_values(chromium: Browser, pages: Path, runs: Path) -> None:
    from selenium.webdriver import ActionChains, Keys

    lines = [json.loads(line) for line in (runs / "mixed" / "metrics.jsonl").read_text().splitlines()]
    losses = {line["step"]: f"{line['train/loss']:.4f}" for line in lines if "train/loss" in line}
    chromium.open(pages / "one.html")
    chart = chromium.driver.find_element("css selector", ".chart")
    plot = chart.find_element("css selector", ".plot")

    def read() -> tuple[str, str]:
        step, training = (chart.find_element("css selector", it).text for it in (".at output", ".legend output"))
        return step, training

    assert read() == ("8", losses[8])
    ActionChains(chromium.driver).move_to_element(plot).perform()
    assert read() == ("4", losses[4])
    assert chromium.run("return document.querySelector('.cursor').getAttribute('d')") == "M500 0V1000"
    ActionChains(chromium.driver).move_to_element(chart.find_element("css selector", "h3")).perform()
    assert read() == ("8", losses[8])
    plot.send_keys(Keys.ARROW_LEFT, Keys.ARROW_LEFT)
    assert read() == ("6", losses[6])
    plot.send_keys(Keys.HOME)
    assert read()[0] == "0"
    plot.send_keys(Keys.ESCAPE)
    assert read() == ("8", losses[8])


def test_it_says_the_same_without_its_script(chromium: Browser, pages: Path) -> None:
    chromium.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        chromium.open(pages / "one.html")
        source = chromium.driver.page_source
        legend = chromium.driver.find_elements("css selector", ".legend output")
        assert all(it.text for it in legend)
        assert source.count("<details>") >= 6
    finally:
        chromium.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
