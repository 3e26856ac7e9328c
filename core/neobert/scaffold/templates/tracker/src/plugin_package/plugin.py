"""Options and hook."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen
from neobert import BuildContext, hookimpl

if TYPE_CHECKING:
    from neobert.interfaces import Tracker


@frozen(kw_only=True)
class PluginOptions:
    """Metrics as rows of step, name and value in the run folder's metrics.csv, for spreadsheets."""

    prefixes: tuple[str, ...] = field(
        default=(), metadata={"help": "only metrics whose names begin with one of these, such as `eval/`; none: all"}
    )

    def build(self, context: BuildContext) -> Tracker:
        """Appends to the file that may be there."""
        from .table import CsvTracker

        return CsvTracker(context.run_directory / "metrics.csv", self.prefixes)


@hookimpl
def neobert_trackers() -> dict[str, type]:
    return {"plugin_name": PluginOptions}
