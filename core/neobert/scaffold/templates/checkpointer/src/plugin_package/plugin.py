"""Options and hook. Imported whenever plugins are listed, so torch is imported in `build` alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen
from attrs.validators import and_, ge, le
from neobert import BuildContext, hookimpl

if TYPE_CHECKING:
    from neobert.interfaces import Checkpointer


@frozen(kw_only=True)
class PluginOptions:
    """One compressed safetensors file, and the other values as JSON: less to store and to send, more to compute."""

    level: int = field(
        default=1, validator=and_(ge(0), le(9)), metadata={"help": "of gzip: 0 does not compress, 9 takes longest"}
    )

    def build(self, context: BuildContext) -> Checkpointer:
        """Every rank calls it; rank 0 writes, and each reads."""
        from .compressed import CompressedCheckpointer

        return CompressedCheckpointer(level=self.level, writes=context.rank == 0)


@hookimpl
def neobert_checkpointers() -> dict[str, type]:
    return {"plugin_name": PluginOptions}
