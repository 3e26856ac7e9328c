"""The documentation as a site: every page is in its menu, and its generated parts say what the code says."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

import neobert
import neobert.testing
from neobert.commands.flags import FLAGS
from neobert.kinds import KINDS
from neobert.registry import default_registry

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(page for page in DOCS.rglob("*.md") if "plugin_example" not in page.parts)


@pytest.fixture(scope="module")
def settings() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", DOCS / "hooks" / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _leaves(item: Any) -> list[str]:
    if isinstance(item, str):
        return [item]
    return [leaf for part in (item.values() if isinstance(item, dict) else item) for leaf in _leaves(part)]


def test_every_page_is_in_the_menu_once(settings: dict[str, Any]):
    assert sorted(_leaves(settings["nav"])) == sorted(page.relative_to(DOCS).as_posix() for page in PAGES)


def test_nothing_is_fetched_from_another_place(settings: dict[str, Any]):
    """What the build itself looks for in every page as well: docs/hooks/site.py."""
    assert settings["theme"]["font"] is False
    assert {"extra_css", "extra_javascript"}.isdisjoint(settings)
    assert settings["plugins"] == ["search"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_lists_and_tables_stand_apart_from_paragraphs(page: Path):
    """GitHub shows them as such either way; the site's dialect of Markdown does not."""
    text = re.sub(r"^(```|~~~).*?^\1", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    glued = re.findall(r"^(?![-|#>]|\s|\d+\.|<!--)[^\n]+\n(?=- |\d+\. |\|)[^\n]*", text, flags=re.MULTILINE)
    assert glued == []


def test_every_flag_is_listed(reference: ModuleType):
    text = reference.commands()
    assert [flag.name for flag in FLAGS if f"| `{flag.name}` |" not in text] == []
    assert "exit status: 0 done" in text
    assert text.count("--list-recipes") == 2  # in the usage and in the table


def test_every_built_in_plugin_is_listed(reference: ModuleType):
    text = reference.plugins()
    own = [plugin for plugin in default_registry().plugins if plugin.distribution == "neobert"]
    assert [plugin.name for plugin in own if f"| `{plugin.name}` | {plugin.summary} |" not in text] == []
    assert re.findall(r"^## (\w+)$", text, flags=re.MULTILINE) == list(KINDS)


def test_every_public_name_is_described(reference: ModuleType):
    text = reference.api()
    names = [*sorted(neobert.__all__, key=str.lower), *sorted(neobert.testing.__all__, key=str.lower)]
    assert re.findall(r"^### `(\w+)`$", text, flags=re.MULTILINE) == names
    assert "| `max_seqlen` | `int` | required |" in text
    assert "- `from_lengths(cls, lengths: Iterable[int], device: torch.device | str | None = None)" in text
    empty = re.findall(r"^### `(\w+)`\n\n(?=##|\Z)", text, flags=re.MULTILINE)
    assert empty == []


@pytest.mark.parametrize("name", ["commands", "plugins", "api"])
def test_a_page_has_the_mark_of_each_part(reference: ModuleType, name: str):
    assert f"<!-- site: {name} -->" in (DOCS / "reference" / f"{name}.md").read_text(encoding="utf-8")
    assert reference.PARTS[name] is getattr(reference, name)
