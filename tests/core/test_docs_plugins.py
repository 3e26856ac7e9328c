"""docs/plugins.md says what the code says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from neobert import hookspecs
from neobert.commands.listing import Row
from neobert.deprecation import MINORS_KEPT
from neobert.describe import describe_fields, field_types
from neobert.kinds import KINDS
from neobert.registry import load_registry
from neobert.scaffold.document import interface_of, page

DOCS = Path(__file__).parents[2] / "docs"
PLUGINS = (DOCS / "plugins.md").read_text(encoding="utf-8")


def test_the_table_of_hooks_is_the_code_s():
    table = re.findall(r"^\| `(\w+)` \| `(neobert_\w+)` \|", PLUGINS, flags=re.MULTILINE)
    assert table == [(kind.name, kind.hook) for kind in KINDS.values()]
    assert {hook for _, hook in table} == {name for name in vars(hookspecs) if name.startswith("neobert_")}


def test_every_status_is_explained():
    section = PLUGINS.split("## What happens to faults")[1].split("##")[0]
    explained = re.findall(r"^\| `(\w+)(?:: \.\.\.)?` \|", section, flags=re.MULTILINE)
    assert set(explained) == set(get_args(field_types(Row)["status"]))


def test_the_plugin_in_fifteen_lines_works(install):
    source = PLUGINS.split("```python\n")[1].split("```")[0]
    code = [line for line in source.splitlines() if line.strip() and not line.startswith("#")]
    assert len(code) <= 15
    install("theirs", {"halving": "their_halving"}, {"their_halving": source})
    plugin = load_registry().usable("scheduler", "halving")
    assert plugin.summary == "Halves the learning rate every so many steps."
    assert [described.name for described in describe_fields(plugin.options_class)] == ["every"]
    schedule = plugin.options_class(every=10).build(None)
    assert [schedule(step) for step in (0, 9, 10, 25)] == [1.0, 1.0, 0.5, 0.25]


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_the_page_of_a_kind_says_what_the_code_says(kind):
    text = (DOCS / "plugins" / f"{kind.name}.md").read_text(encoding="utf-8")
    assert text == page(text, kind), "run: python -m neobert.scaffold.document docs/plugins"
    assert f"](plugins/{kind.name}.md)" in PLUGINS
    assert kind.hook in text
    assert f"check_{kind.name}(" in text


def test_pages_show_the_protocols():
    without = {"tokenizer", "dataset", "optimizer"}  # objects of other libraries
    shown = {kind.name: interface_of(kind) for kind in KINDS.values()}
    assert {name for name, protocol in shown.items() if protocol is None} == without
    assert len({protocol for protocol in shown.values() if protocol}) == len(KINDS) - len(without)
    assert "def save(self, directory: Path" in (DOCS / "plugins" / "checkpointer.md").read_text(encoding="utf-8")


def test_the_page_of_changes_says_how_long_the_old_stays():
    text = (DOCS / "plugins" / "changes.md").read_text(encoding="utf-8")
    assert f"for at least {['no', 'one', 'two', 'three'][MINORS_KEPT]} minor versions" in text


@pytest.mark.parametrize("name", ["README.md", "pyproject.toml"])
def test_the_example_is_where_the_text_says(name):
    assert (DOCS / "plugin_example" / name).is_file()
