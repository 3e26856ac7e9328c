"""One new distribution of each kind, written once, and put on the path as an installer would."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import tomli

from neobert.kinds import KINDS
from neobert.scaffold import write_plugin

NAMES = {kind: f"my-{kind.replace('_', '-')}" for kind in KINDS}


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Kind -> the folder of its new distribution."""
    root = tmp_path_factory.mktemp("plugins")
    for kind, name in NAMES.items():
        write_plugin(name, kind, root / name)
    return {kind: root / name for kind, name in NAMES.items()}


@pytest.fixture(scope="session")
def sources(written: dict[str, Path]) -> list[str]:
    """Folders for the path of a process in which all of them are installed, by the metadata that pip would make."""
    for folder in written.values():
        project = tomli.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        name, version = project["name"], project["version"]
        info = folder / "src" / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n", encoding="utf-8")
        points = project["entry-points"]["neobert.plugins"].items()
        lines = "".join(f"{point} = {module}\n" for point, module in points)
        (info / "entry_points.txt").write_text(f"[neobert.plugins]\n{lines}", encoding="utf-8")
    return [str(folder / "src") for folder in written.values()]


@pytest.fixture
def installed(sources: list[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """In this process, for one test."""
    from neobert.registry import default_registry

    before = set(sys.modules)
    monkeypatch.delenv("NEOBERT_PLUGINS", raising=False)
    for source in sources:
        monkeypatch.syspath_prepend(source)
    default_registry.cache_clear()
    yield
    default_registry.cache_clear()
    for name in set(sys.modules) - before:
        if name.startswith("my_"):
            del sys.modules[name]
