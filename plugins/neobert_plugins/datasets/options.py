"""Options of the datasets that read what is there: folders, files, the hub."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from attrs import field, frozen

if TYPE_CHECKING:
    from neobert.context import BuildContext


@frozen(kw_only=True)
class Disk:
    """A dataset that the `datasets` library saved to a folder (`save_to_disk`)."""

    path: str = field(metadata={"help": "the folder", "path": True})

    def build(self, context: BuildContext) -> dict[str, Any]:
        """Its splits; a folder without splits is ``train``."""
        from neobert_plugins.datasets.disk import read

        return read(self)


@frozen(kw_only=True)
class Files:
    """Text, JSON lines, CSV or Parquet files, by a glob pattern."""

    path: str = field(
        metadata={"help": "a file, a folder or a glob pattern (`**` crosses folders) to train on", "path": True}
    )
    eval_path: str | None = field(default=None, metadata={"help": "the same, to evaluate on", "path": True})
    format: Literal["text", "json", "csv", "parquet"] | None = field(
        default=None,
        metadata={"help": "unset: by suffix (.txt .md, .jsonl .json, .csv .tsv, .parquet; .gz .zst too)"},
    )
    text_unit: Literal["line", "paragraph", "document"] = field(
        default="line",
        metadata={"help": "what of a text file is one row: a line, a paragraph, the whole file"},
    )
    streaming: bool = field(default=False, metadata={"help": "read while training, with no copy in a cache"})

    def build(self, context: BuildContext) -> dict[str, Any]:
        """``{"train": ...}``, and ``eval`` with ``eval_path``."""
        from neobert_plugins.datasets.files import read

        return read(self)


@frozen(kw_only=True)
class Hub:
    """A dataset from the Hugging Face hub. Code that a repository brings is never run."""

    path: str = field(metadata={"help": "its name, such as `wikimedia/wikipedia`"})
    config: str | None = field(default=None, metadata={"help": "its configuration, such as `20231101.en`"})
    revision: str | None = field(default=None, metadata={"help": "branch, tag or commit; unset: main"})
    streaming: bool = field(default=False, metadata={"help": "read while training, with no copy on disk"})

    def build(self, context: BuildContext) -> dict[str, Any]:
        """All of its splits."""
        from neobert_plugins.datasets.hub import read

        return read(self)
