"""What stands at a run's end."""

from __future__ import annotations

import io

from rich.console import Console

from neobert.training.display import LiveDisplay
from neobert.training.guard import GuardState
from neobert.training.summary import guard_lines, losses_table

EVALUATIONS = {"before": {"loss": 5.0}, "after": {"loss": 3.0}}


def shown(evaluations: dict[str, dict[str, float]]) -> list[list[str]]:
    text = io.StringIO()
    Console(file=text, width=120).print(losses_table(evaluations, 4.0))
    return [line.replace("│", "|").replace("┃", "|").strip("| ").split("|") for line in text.getvalue().splitlines()]


def test_averaged_weights_have_a_row_of_their_own() -> None:
    plain, both = shown(EVALUATIONS), shown({**EVALUATIONS, "averaged": {"loss": 2.5}})
    assert ["5.0000", "3.0000", "4.0000", "1.0000"] in [[cell.strip() for cell in row] for row in plain]
    rows = [[cell.strip() for cell in row] for row in both]
    assert ["as trained", "5.0000", "3.0000", "4.0000", "1.0000"] in rows
    assert ["averaged", "5.0000", "2.5000", "4.0000", "1.5000"] in rows


def test_what_the_guard_did_is_said_and_a_long_list_cut() -> None:
    assert list(guard_lines(GuardState())) == []
    state = GuardState(skipped=[3, 7], rollbacks=[{"step": 9, "to": 4, "reason": "the loss spikes"}])
    assert list(guard_lines(state)) == ["2 steps skipped: 3, 7", "went back from step 9 to 4: the loss spikes"]
    state = GuardState(skipped=list(range(1, 1001)))
    assert list(guard_lines(state)) == [
        "1,000 steps skipped: ..., 991, 992, 993, 994, 995, 996, 997, 998, 999, 1000",
    ]


def test_a_live_line_goes_back_and_on() -> None:
    text = io.StringIO()
    display = LiveDisplay(Console(file=text, width=200, force_terminal=True))
    display.start(20, 10)
    display.step(12)
    display.go_back(8)
    display.step(9)
    display.log({"train/loss": 3.0, "train/rollbacks": 1.0}, 9)
    display.stop()
    assert "9/20" in text.getvalue()
    assert "rollbacks 1" in text.getvalue()
