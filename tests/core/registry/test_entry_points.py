"""What would be imported is told before anything is."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from neobert.cli import main
from neobert.registry.discovery import installed_entry_points

Install = Callable[..., Path]
MODULE = {"never_imported": 'msg = "it was imported"\nraise RuntimeError(msg)\n'}


def test_nothing_is_imported(install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    install("stranger", {"odd": "never_imported:plugin"}, MODULE)
    assert main(["--list-plugins", "--all"]) == 0
    printed = capsys.readouterr().out
    assert "odd\tnever_imported:plugin\tstranger\t1.0\tloaded\n" in printed
    assert "\tneobert_plugins.models\tneobert\t" in printed
    assert "never_imported" not in sys.modules


def test_what_is_left_out_says_so(install: Install) -> None:
    install("stranger", {"odd": "never_imported", "even": "never_imported"}, MODULE)
    points = {point.name: point.status for point in installed_entry_points({"NEOBERT_PLUGINS": "even"})}
    assert points["even"] == points["models"] == "loaded"
    assert points["odd"] == "left out: NEOBERT_PLUGINS does not name it"


@pytest.mark.parametrize("more", [["--kind", "model"], ["--json"]])
def test_what_does_not_go_with_it(more: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list-plugins", "--all", *more]) == 2
    assert "does not go with --all" in capsys.readouterr().err
