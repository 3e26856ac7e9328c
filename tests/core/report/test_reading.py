"""What is read of a run's files, whatever state they are in."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from neobert.api.metrics import Series
from neobert.errors import UserError
from neobert.report.lines import read_lines, read_object
from neobert.report.series import best_of_series, not_finite, series_of, trained_seconds


def test_a_torn_last_line_and_damaged_ones_are_told(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text('{"step": 1}\nnonsense\n[2]\n\n{"step": 3}\n{"step": 4, "tr')
    rows, notes = read_lines(file)
    assert rows == [{"step": 1}, {"step": 3}]
    assert notes == [
        "metrics.jsonl has lines that are no JSON objects, and are left out: 2, 3",
        "the last line of metrics.jsonl is cut short, and left out",
    ]
    file.write_text('{"step": 1}\n')
    assert read_lines(file) == ([{"step": 1}], [])
    assert read_lines(tmp_path / "none") == ([], [])


def test_an_object_that_is_none_is_refused_with_its_file(tmp_path: Path) -> None:
    assert read_object(tmp_path / "none") is None
    for text, said in (("{", "it is no JSON"), ("[]", "found list")):
        (tmp_path / "summary.json").write_text(text)
        with pytest.raises(UserError, match=rf"summary\.json is damaged.*{said}"):
            read_object(tmp_path / "summary.json")


def test_series_are_in_the_order_of_steps_and_of_numbers_alone() -> None:
    lines = [
        {"step": 4, "a": 3},
        {"step": 2, "a": "NaN", "b": True, "c": "text", "d": None},
        {"step": "no", "a": 5.0},
        {"a": 6.0},
    ]
    found = series_of(lines)
    assert list(found) == ["a"]
    assert found["a"].steps == (2, 4)
    assert math.isnan(found["a"].values[0])
    assert (found["a"].last, not_finite(found["a"])) == (3.0, 1)


@pytest.mark.parametrize(
    ("name", "best"),
    [("eval/loss", (3, 1.0)), ("eval/mrr@10", (1, 4.0)), ("eval/who/knows", None)],
)
def test_the_best_is_what_the_name_says_and_the_earlier_of_equals(name: str, best: tuple[int, float] | None) -> None:
    assert best_of_series(name, Series((1, 2, 3, 4, 5), (4.0, math.nan, 1.0, 1.0, 4.0))) == best


def test_time_is_what_the_tokens_took_at_their_speed() -> None:
    rows = [{"step": n, "train/tokens_seen": 100.0 * n, "train/tokens_per_second": 50.0 / n} for n in (1, 2, 3)]
    assert trained_seconds(series_of(rows)) == pytest.approx(2 + 4 + 6)
    assert trained_seconds(series_of([{"step": 1, "train/tokens_seen": 3.0}])) is None


def test_a_run_writes_what_its_data_is_and_what_happened(runs: Path) -> None:
    data = json.loads((runs / "mixed" / "data.json").read_text())["objectives"][""]
    assert [source["name"] for source in data["training"]["sources"]] == ["lines", "<b>bodies</b>"]
    assert sum(it["documents"] for it in data["training"]["lengths"]["bins"]) == data["training"]["documents"]
    assert data["evaluation"]["documents"] == 14
    events = [json.loads(line) for line in (runs / "mixed" / "events.jsonl").read_text().splitlines()]
    said = [(it["event"], it["step"]) for it in events]
    assert said == [("started", 0), ("finished", 6), ("resumed", 4), ("finished", 8)]
    assert set(json.loads((runs / "objectives" / "data.json").read_text())["objectives"]) == {"mlm", "pairs"}
