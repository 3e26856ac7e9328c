"""A flat state as a file of tensors for each rank, ``state-RANK-of-RANKS.safetensors``, and ``state.json``."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen

from neobert.files import sync, write_text
from neobert_plugins.checkpointers.safetensors_files import (
    VALUE_FILE,
    filled_state,
    read_json,
    split_state,
    write_tensors,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor


NAME = re.compile(r"state-\d+-of-\d+\.safetensors")


@frozen(kw_only=True)
class ShardedCheckpointer:
    """Each rank writes whole tensors, about as many bytes as any other; equal states give equal bytes."""

    rank: int
    ranks: int

    def save(self, directory: Path, state: Mapping[str, Any]) -> None:
        """Writes this rank's file into an existing folder and syncs it; the first rank writes the values, too.

        Raises `TypeError` for a value that JSON would not give back as it is (a tuple, a NaN, an object).
        """
        tensors, values = split_state(state)
        share = shared_out(tensors, self.ranks)[self.rank]
        write_tensors(Path(directory) / self._file(self.rank), {key: tensors[key] for key in share})
        if self.rank == 0:
            content = {"files": [self._file(rank) for rank in range(self.ranks)], "values": values}
            write_text(Path(directory) / VALUE_FILE, json.dumps(content, indent=2, sort_keys=True) + "\n")
        sync(Path(directory))

    def load(self, directory: Path, state: Mapping[str, Any]) -> dict[str, Any]:
        """The saved state, as the checkpointer `safetensors` loads it: strictly, and onto the template's devices."""
        content = read_json(Path(directory) / VALUE_FILE)
        if not isinstance(content, dict) or not {"files", "values"} <= content.keys():
            msg = f"{Path(directory) / VALUE_FILE} is not one of the checkpointer `sharded`"
            raise ValueError(msg)
        strange = [name for name in content["files"] if not NAME.fullmatch(str(name))]
        if strange:
            msg = f"{Path(directory) / VALUE_FILE} names files that no checkpoint has: {strange}"
            raise ValueError(msg)
        return filled_state(Path(directory), content["files"], state, content["values"])

    def _file(self, rank: int) -> str:
        return f"state-{rank + 1:05d}-of-{self.ranks:05d}.safetensors"


def shared_out(tensors: Mapping[str, Tensor], ranks: int) -> list[list[str]]:
    """The keys of each rank: the largest tensor first, each to the rank that has the fewest bytes so far."""
    shares: list[list[str]] = [[] for _ in range(ranks)]
    sizes = [0] * ranks
    for key in sorted(tensors, key=lambda key: (-tensors[key].nbytes, key)):
        rank = sizes.index(min(sizes))
        shares[rank].append(key)
        sizes[rank] += tensors[key].nbytes
    return shares
