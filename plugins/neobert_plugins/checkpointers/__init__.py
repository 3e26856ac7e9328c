"""Checkpointers: `safetensors`, `sharded`, `dcp`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from neobert import hookimpl

if TYPE_CHECKING:
    from neobert import BuildContext
    from neobert.interfaces import Checkpointer


@frozen(kw_only=True)
class Safetensors:
    """Tensors in one safetensors file and the other values in one JSON file, without pickle."""

    def build(self, context: BuildContext) -> Checkpointer:
        """A checkpointer that writes on rank 0 and reads on every rank."""
        from neobert_plugins.checkpointers.safetensors_files import SafetensorsCheckpointer

        return SafetensorsCheckpointer(writes=context.rank == 0)


@frozen(kw_only=True)
class Sharded:
    """The tensors shared out among the processes, each of which writes its own safetensors file, without pickle."""

    def build(self, context: BuildContext) -> Checkpointer:
        """A checkpointer that writes on every rank and reads on every rank, whatever number of ranks has written."""
        from neobert_plugins.checkpointers.sharded_files import ShardedCheckpointer

        return ShardedCheckpointer(rank=context.rank, ranks=context.world_size)


@frozen(kw_only=True)
class DCP:
    """Each process writes the rows that it has, by `torch.distributed.checkpoint`; safetensors and JSON, no pickle."""

    def build(self, context: BuildContext) -> Checkpointer:
        """A checkpointer that writes on every rank and reads on every rank, whatever number of ranks has written, and
        however they shared the tensors out."""
        from neobert.host_group import new_host_group
        from neobert_plugins.checkpointers.dcp_files import DistributedCheckpointer

        # A line of its own: a save in the background talks beside the loop.
        group = new_host_group() if context.world_size > 1 else None
        return DistributedCheckpointer(rank=context.rank, group=group)


@hookimpl
def neobert_checkpointers() -> dict[str, type]:
    return {"safetensors": Safetensors, "sharded": Sharded, "dcp": DCP}
