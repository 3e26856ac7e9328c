"""Numbers as people read them: in tables, on axes, and beside charts."""

from __future__ import annotations

import math
from datetime import timedelta

from neobert.wording import figure_text

NOTHING = "\N{EN DASH}"
"""For what is not known."""
_UNITS = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))


def figure(name: str, value: float | None) -> str:
    """A figure of an evaluation or a loss, with four decimals."""
    if value is None:
        return NOTHING
    if not math.isfinite(value):
        return _not_finite(value)
    return figure_text(name, value) if abs(value) < 1000 else f"{value:,.1f}".removesuffix(".0")


def short(value: float | None) -> str:
    """Three digits that matter and a unit: ``1.23 M``, ``4.32 k``, ``0.0133``, ``1.5e-05``."""
    if value is None:
        return NOTHING
    if not math.isfinite(value):
        return _not_finite(value)
    for size, unit in _UNITS:
        if abs(value) >= size * 0.9995:
            return f"{_digits(value / size)} {unit}"
    return _digits(value)


def whole(value: float | None) -> str:
    """``12,345``."""
    return NOTHING if value is None else f"{value:,.0f}"


def share(value: float | None) -> str:
    """``12.3 %``, ``0.12 %``."""
    if value is None:
        return NOTHING
    percent = 100 * value
    return f"{percent:.1f} %" if percent >= 1 else f"{percent:.2g} %"


def duration(seconds: float | None) -> str:
    """``0:09:41``, ``3 days, 4:00:00``."""
    return NOTHING if seconds is None else str(timedelta(seconds=round(seconds)))


def _digits(value: float) -> str:
    text = f"{value:.3g}"
    return text if "e" not in text or abs(value) < 1e-3 else f"{value:.0f}"


def _not_finite(value: float) -> str:
    return "not a number" if math.isnan(value) else "infinite" if value > 0 else "-infinite"
