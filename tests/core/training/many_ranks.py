"""Runs on several processes, each in one go with others: what tests of many ranks share."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

HERE = Path(__file__).parent
TIMED = ("train/tokens_per_second", "train/data_wait_share")


def job(name: str, *overrides: str, folder: str | None = None, **more: Any) -> dict[str, Any]:
    """A run of this name, in a folder of its own unless told."""
    where = f"--trainer.output_dir={folder or name}"
    return {"name": name, "overrides": [where, *overrides], "port": free_port(), **more}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def launch(folder: Path, ranks: int, jobs: Sequence[dict[str, Any]], killed: int | None = None) -> None:
    """Runs the jobs on so many processes, as a launcher would. ``killed``: the one that the last job kills."""
    (folder / "jobs.json").write_text(json.dumps(list(jobs)))
    command = [sys.executable, str(HERE / "one_of_many.py")]
    started = [
        subprocess.Popen([*command, str(rank), str(ranks), str(folder)], stderr=subprocess.PIPE, text=True)
        for rank in range(ranks)
    ]
    said = [process.communicate(timeout=600)[1] for process in started]
    expected = [-signal.SIGKILL if rank == killed else 0 for rank in range(ranks)]
    assert [process.returncode for process in started] == expected, said


class Results:
    """What the runs came to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def of(self, name: str, ranks: int) -> list[dict[str, Any]]:
        return [json.loads((self.folder / f"{name}-{rank}.json").read_text()) for rank in range(ranks)]

    def seen(self, name: str, ranks: int) -> dict[str, str]:
        return {place: said for found in self.of(name, ranks) for place, said in found["seen"].items()}

    def lines(self, name: str) -> list[dict[str, float]]:
        lines = map(json.loads, (self.folder / name / "metrics.jsonl").read_text().splitlines())
        return [{key: value for key, value in line.items() if key not in TIMED} for line in lines]

    def checkpoint(self, name: str, step: int) -> Path:
        return self.folder / name / "checkpoints" / str(step)

    def state(self, name: str, step: int) -> dict[str, Tensor]:
        """Whole tensors, of whichever checkpointer."""
        folder = self.checkpoint(name, step)
        single = folder / "state.safetensors"
        return load_file(single) if single.exists() else put_together(folder)

    def progress(self, name: str, step: int) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / name / f"checkpoints/{step}/progress.json").read_text())
        return found

    def apart(self, name: str, other: str, step: int) -> float:
        """The largest difference of two states."""
        states = self.state(name, step), self.state(other, step)
        assert states[0].keys() == states[1].keys()
        return max(float((states[0][key].double() - states[1][key].double()).abs().max()) for key in states[0])


def put_together(folder: Path) -> dict[str, Tensor]:
    """What `dcp` wrote, without it: each file says where its rows begin."""
    parts: dict[str, list[tuple[list[int], Tensor]]] = {}
    for path in folder.glob("shard-*.safetensors"):
        with safe_open(path, "pt") as file:
            begins = json.loads(file.metadata()["DCP_SHARDING_INFO"])
            for key in file.keys():  # noqa: SIM118
                parts.setdefault(key, []).append((begins[key]["saved_offsets"], file.get_tensor(key)))
    rows = {key: [tensor for _, tensor in sorted(found, key=lambda part: part[0])] for key, found in parts.items()}
    return {key: found[0] if len(found) == 1 else torch.cat(found) for key, found in rows.items()}
