"""What evaluations and their figures are called in checkpoints, summary.json and logs. Light: others read those."""

from __future__ import annotations

AVERAGED = "averaged"
"""Of a position's evaluations: the newest of the averaged weights."""
BEST = "best"
"""Of a position's evaluations: that of the best step."""
COLUMNS = {"before": "before", "after": "after", AVERAGED: "averaged weights", BEST: "best step"}
"""Evaluations by their names, and what people call them; others, that need no training, are called by theirs."""
AMONG_ALL = "all/"
"""How figures among the held-out candidates and those that are trained on begin."""
CANDIDATES = f"{AMONG_ALL}candidates"
"""How many texts those are."""
