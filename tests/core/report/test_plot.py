"""Charts: round numbers on axes, every value in its place, none joined across what is not finite."""

from __future__ import annotations

import math
import re

import pytest

from neobert.api.metrics import Series
from neobert.report.axis import step_axis, value_axis
from neobert.report.numbers import duration, figure, share, short, whole
from neobert.report.plot import Level, Line, Style, draw
from neobert.report.thin import MOST_POINTS, MOST_ROWS

STYLE = Style(text=str)


def line(values: list[float], steps: list[int] | None = None, **options: bool) -> Line:
    at = range(len(values)) if steps is None else steps
    return Line(name="a", series=Series(tuple(at), tuple(values)), colour=0, **options)


def places(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"[ML](\S+) ([\d.]+)", path)]


@pytest.mark.parametrize(
    "values", [[3.99, 8.97], [0.0, 0.02], [-1.2, 3.0], [5.0], [0.0, 0.0], [1e-9, 2e-9], [4e6, 5e6]]
)
def test_an_axis_holds_its_values_between_round_numbers(values: list[float]) -> None:
    axis = value_axis(values)
    assert axis.least <= min(values) <= max(values) <= axis.most
    assert 3 <= len(axis.ticks) <= 9
    assert (axis.ticks[0].at, axis.ticks[-1].at) == pytest.approx((0.0, 1.0))
    texts = [tick.text for tick in axis.ticks]
    assert len(set(texts)) == len(texts), texts
    gaps = {round(b.at - a.at, 9) for a, b in zip(axis.ticks, axis.ticks[1:], strict=False)}
    assert len(gaps) == 1


def test_a_logarithmic_axis_is_for_values_that_differ_by_much() -> None:
    assert not value_axis([1.0, 1000.0]).log
    assert not value_axis([0.0, 1000.0], may_log=True).log
    axis = value_axis([1.0, 1000.0], may_log=True)
    assert axis.log
    assert [axis.at(it) for it in (1.0, 10.0, 100.0, 1000.0)] == pytest.approx([0.0, 1 / 3, 2 / 3, 1.0])


def test_steps_are_whole_numbers() -> None:
    assert [tick.text for tick in step_axis(0, 600).ticks] == ["0", "100", "200", "300", "400", "500", "600"]
    assert [tick.text for tick in step_axis(1, 3).ticks] == ["1", "2", "3"]
    assert step_axis(5, 5).at(5) == 0.0


def test_every_value_is_drawn_where_it_belongs() -> None:
    chart = draw("c", "t", [line([0.0, 10.0, 5.0], [0, 10, 20])], STYLE)
    assert places(chart.lines[0].path) == [(0.0, 1000.0), (500.0, 0.0), (1000.0, 500.0)]
    assert chart.lines[0].points == 3
    assert chart.rows == (("0", "0.0"), ("10", "10.0"), ("20", "5.0"))
    assert chart.readout["x"] == [0.0, 500.0, 1000.0]
    assert chart.readout["lines"] == [{"y": [1000.0, 0.0, 500.0], "text": ["0.0", "10.0", "5.0"]}]
    assert "3 values, from 0.0 at step 0 to 5.0 at step 20" in chart.description


def test_a_curve_begins_anew_behind_what_is_not_finite() -> None:
    chart = draw("c", "t", [line([1.0, math.nan, 2.0, 3.0, math.inf])], STYLE)
    assert re.findall("[ML]", chart.lines[0].path) == ["M", "M", "L"]
    assert chart.notes == ("a: 2 values that are not finite are left out",)
    assert chart.readout["lines"][0]["y"][1] is None
    nothing = draw("c", "t", [line([math.nan])], STYLE)
    assert nothing.lines[0].points == 0


def test_curves_with_other_steps_share_their_axis_and_table() -> None:
    chart = draw("c", "t", [line([1.0, 2.0], [0, 4]), line([3.0], [2], dotted=True)], STYLE, [Level("level", 9.0)])
    assert chart.rows == (("0", "1.0", "\N{EN DASH}"), ("2", "\N{EN DASH}", "3.0"), ("4", "2.0", "\N{EN DASH}"))
    assert chart.lines[1].path == "", "one dot is no line"
    assert chart.lines[1].dots.startswith("M500.0 ")
    ((name, text, height),) = chart.levels
    assert (name, text) == ("level", "9.0")
    assert 0 <= height < 200


def test_a_long_curve_keeps_its_ends_and_its_extremes() -> None:
    values = [math.sin(number / 50) for number in range(20_000)]
    values[12_345], values[777] = 40.0, -40.0
    chart = draw("c", "t", [line(values)], STYLE)
    drawn = set(places(chart.lines[0].path))
    assert chart.lines[0].points <= MOST_POINTS
    assert {0.0, 1000.0} <= {x for x, _ in drawn}
    assert {(round(1000 * 12_345 / 19_999, 1), 0.0), (round(1000 * 777 / 19_999, 1), 1000.0)} <= drawn
    assert "of 20,000 values" in chart.notes[0]
    assert chart.rows_of == 20_000
    heights = [y for _, y in places(chart.lines[0].mean)]
    assert len(heights) == MOST_POINTS // 2 - 1
    assert chart.lines[0].path.count("M") == 1
    assert sum(heights) / len(heights) == pytest.approx(500.0, abs=3.0), "the mean of a sine, between -40 and 40"
    assert len(chart.rows) == MOST_ROWS
    assert chart.rows[-1][0] == "19,999"


def test_numbers_are_as_people_read_them() -> None:
    assert [short(it) for it in (1_228_772, 999_600, 950, 0.0133, 1.5e-5, 0, None)] == [
        "1.23 M", "1 M", "950", "0.0133", "1.5e-05", "0", "\N{EN DASH}",
    ]  # fmt: skip
    assert figure("loss", 4.17504) == "4.1750"
    assert figure("perplexity", 7874.46) == "7,874.5"
    assert figure("all/candidates", 4561.0) == "4,561"
    assert figure("loss", math.nan) == "not a number"
    assert (whole(12345.6), share(0.1234), share(0.0012), duration(443.2)) == ("12,346", "12.3 %", "0.12 %", "0:07:23")
