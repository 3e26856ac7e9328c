"""Distributions that exist for one test: a folder on the path with modules and a .dist-info."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from textwrap import dedent

import pytest

Install = Callable[..., Path]

HEADER = """\
from __future__ import annotations
from typing import ClassVar
from attrs import field, frozen
from neobert import Capabilities, Part, hookimpl, part

"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """``install(distribution, entry_points, modules)`` puts a distribution on this process's path.

    Module sources get the usual imports in front. Returns the folder, for the PYTHONPATH of other processes.
    """
    before = set(sys.modules)
    root = tmp_path / "site"
    root.mkdir()
    monkeypatch.syspath_prepend(str(root))
    monkeypatch.delenv("NEOBERT_PLUGINS", raising=False)

    def make(
        distribution: str,
        entry_points: Mapping[str, str],
        modules: Mapping[str, str] | None = None,
        *,
        version: str = "1.0",
        metadata: str = "",
        folder: Path = root,
    ) -> Path:
        write_distribution(folder, distribution, entry_points, modules or {}, version=version, metadata=metadata)
        importlib.invalidate_caches()
        return folder

    yield make
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def write_distribution(
    root: Path,
    distribution: str,
    entry_points: Mapping[str, str],
    modules: Mapping[str, str],
    *,
    version: str,
    metadata: str,
) -> None:
    info = root / f"{distribution.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.4\nName: {distribution}\nVersion: {version}\n{metadata}", encoding="utf-8"
    )
    lines = "".join(f"{name} = {value}\n" for name, value in entry_points.items())
    (info / "entry_points.txt").write_text(f"[neobert.plugins]\n{lines}", encoding="utf-8")
    for name, source in modules.items():
        (root / f"{name}.py").write_text(HEADER + dedent(source), encoding="utf-8")
