"""The classes of a dataset's labels: how many there are, and what they are called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from neobert.data.example_values import label_names
from neobert.data.features import is_text
from neobert.data.mixed_rows import parts_of
from neobert.labels import Labels
from neobert.roles import Roles

LABEL = "label"
MOST = 100_000
"""More classes than anybody tells apart: such numbers are something else."""


def labels_of(splits: Mapping[str, Any], roles: Roles | None) -> Labels | None:
    """The classes of `Splits.as_mapping`, over all splits; None for a datacollator without a role ``label``."""
    if roles is None or LABEL not in roles.values:
        return None
    if any(parts_of(rows) is not None for rows in splits.values()):
        return Labels(problem="the data is a mixture with streams, whose labels are not known before they are read")
    features = {name: rows.features[LABEL] for name, rows in splits.items() if LABEL in rows.features}
    if all(is_text(feature) for feature in features.values()):
        return Labels(label_names(splits, roles), named=True)
    names = {tuple(getattr(feature, "names", None) or ()) for feature in features.values()}
    if len(names) == 1 and (known := next(iter(names))):
        return _within(known, splits, named=True)
    return _within((), splits, named=False)


def _within(names: tuple[str, ...], splits: Mapping[str, Any], *, named: bool) -> Labels:
    """Whole numbers, which have to be those of the names, where there are any."""
    import pyarrow.compute as pc

    highest = -1
    for name, rows in splits.items():
        if not hasattr(rows, "__len__"):
            if not names:
                return Labels(problem=f"{name} is a stream of numbers, whose highest is not known before it is read")
            continue
        column = rows.select_columns([LABEL]).with_format("arrow")[:].column(LABEL)
        bounds = pc.min_max(column).as_py()
        if bounds["min"] is None:
            continue
        if bounds["min"] < 0:
            count = pc.sum(pc.less(column, 0)).as_py()
            return Labels(
                problem=f"{count:,} rows of {name} have a label below 0 (such as {bounds['min']}), which stands for "
                "none where a set keeps its answers secret: name a split that has labels (dataset.eval_split), or "
                "leave such rows out"
            )
        highest = max(highest, int(bounds["max"]))
    if highest >= MOST:
        return Labels(problem=f"the highest is {highest:,}: these are no numbers of classes")
    if names and highest >= len(names):
        return Labels(problem=f"the highest is {highest}, and the data names {len(names)} classes")
    return Labels(names or tuple(map(str, range(highest + 1))), named=named)
