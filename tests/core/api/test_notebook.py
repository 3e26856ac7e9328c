"""In a notebook a run moves one bar, and says all else in lines."""

from __future__ import annotations

import builtins
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import neobert


class ZMQInteractiveShell:
    """What rich knows a notebook's shell by."""


class Kernel:
    """What a notebook was shown: each display with all that it became."""

    def __init__(self) -> None:
        self.shown: list[list[Any]] = []

    def display(self, value: Any, *, raw: bool = False, display_id: bool = False, **_: Any) -> Any:
        self.shown.append([value])
        return Handle(self.shown[-1]) if display_id else None


class Handle:
    def __init__(self, became: list[Any]) -> None:
        self.became = became

    def update(self, value: Any, *, raw: bool = False) -> None:
        assert raw
        self.became.append(value)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    made = Kernel()
    package, module = ModuleType("IPython"), ModuleType("IPython.display")
    module.display = made.display  # type: ignore[attr-defined]
    package.display = module  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", package)
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    monkeypatch.setattr(builtins, "get_ipython", ZMQInteractiveShell, raising=False)
    return made


def test_one_bar_moves(here: Path, kernel: Kernel) -> None:
    neobert.run("recipe.toml", {"trainer.output_dir": "noted", "trainer.max_steps": 4})
    (bar,) = [became for became in kernel.shown if isinstance(became[0], dict)]
    assert bar[0]["text/plain"].startswith("step 0/4")
    assert "step 4/4  loss " in bar[-1]["text/plain"]
    assert "gone, 0:00:00 left" in bar[-1]["text/plain"]
    assert '<progress value="4" max="4"' in bar[-1]["text/html"]
    lines = "".join(str(getattr(one, "text", one)) for (one, *_) in kernel.shown if not isinstance(one, dict))
    assert "held-out masked-token loss" in lines
    assert "saved noted/checkpoints/4" in lines
    assert "loss 4." not in lines.replace("held-out loss 4.", ""), "a log line moves the bar, and is no line of its own"


def test_names_are_no_markup(kernel: Kernel) -> None:
    from rich.console import Console

    from neobert.training.display import make_display

    display = make_display(Console())
    display.start(10, 0)
    display.log({"train/<b>/loss": 1.0}, 5)
    display.go_back(2)
    display.stop()
    (bar,) = kernel.shown
    assert "&lt;b&gt; 1.0000" in bar[1]["text/html"]
    assert bar[-1]["text/plain"].startswith("step 2/10")
