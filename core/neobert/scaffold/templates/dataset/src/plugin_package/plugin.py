"""Options and hook. Imported whenever plugins are listed, so `datasets` is imported in `build` alone."""

from __future__ import annotations

from typing import Any

from attrs import field, frozen
from attrs.validators import and_, ge, lt
from neobert import BuildContext, hookimpl


@frozen(kw_only=True)
class PluginOptions:
    """The sections of Markdown files: a row for each, from its heading to the next one."""

    path: str = field(
        default="**/*.md", metadata={"help": "a file or a glob pattern (`**` crosses folders)", "path": True}
    )
    heldout_share: float = field(
        default=0.1,
        validator=and_(ge(0.0), lt(1.0)),
        metadata={"help": "share of sections to evaluate on; which ones depends on their text alone"},
    )

    def build(self, context: BuildContext) -> dict[str, Any]:
        """``train`` and, where any section is held out, ``eval``; each with a column ``text``."""
        from .markdown import read

        return read(self.path, self.heldout_share)


@hookimpl
def neobert_datasets() -> dict[str, type]:
    return {"plugin_name": PluginOptions}
