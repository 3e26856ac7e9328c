"""What is to go still works, and says so to whoever uses it."""

from __future__ import annotations

import warnings
from importlib.metadata import version

import attrs
import pytest
from packaging.version import Version

import neobert
from neobert import PluginDeprecationWarning, deprecation, hookspecs
from neobert.commands.listing import rows_of
from neobert.deprecation import Deprecation, deprecated_members
from neobert.registry import hooks, load_registry
from neobert.testing.context import build, make_context

OLD_HOOK = Deprecation(what="the hook neobert_rates()", since="0.3", removed="0.5", instead="use neobert_schedulers()")
OLD_MEMBER = Deprecation(what="an optimizer's `rate`", since="0.3", removed="1.0", instead="call it `lr`")
OLD_NAME = Deprecation(what="neobert.Layout", since="0.3", removed="0.5", instead="use neobert.SequenceLayout")

THEIRS = '''
@frozen(kw_only=True)
class Halving:
    """Halves it."""

    rate: float = 0.5

    def build(self, context):
        return lambda step: self.rate ** step

@hookimpl
def neobert_rates():
    return {"halving": Halving}

@hookimpl
def neobert_optimizers():
    return {"halving": Halving}
'''


@pytest.fixture
def old(monkeypatch: pytest.MonkeyPatch) -> None:
    """A version that has renamed a hook, a member and a name."""

    def neobert_rates():
        """What it was called."""

    monkeypatch.setattr(hookspecs, "neobert_rates", hookspecs.hookspec(neobert_rates), raising=False)
    hook_table, member_table = {"neobert_rates": ("scheduler", OLD_HOOK)}, {("optimizer", "rate"): OLD_MEMBER}
    for module in (deprecation, hooks):
        monkeypatch.setattr(module, "HOOKS", hook_table)
    monkeypatch.setattr(deprecation, "MEMBERS", member_table)
    monkeypatch.setattr(deprecation, "NAMES", {"Layout": ("neobert.batch:SequenceLayout", OLD_NAME)})


@pytest.mark.usefixtures("old")
def test_an_old_hook_gives_plugins_of_its_kind_and_is_warned_of_with_file_and_line(install):
    root = install("theirs", {"rates": "their_rates"}, {"their_rates": THEIRS})
    with pytest.warns(PluginDeprecationWarning) as caught:
        registry = load_registry()
    found = {(str(one.message), one.filename) for one in caught}
    source = str(root / "their_rates.py")
    assert found == {(str(OLD_HOOK), source), (str(OLD_MEMBER), source)}
    lines = (root / "their_rates.py").read_text().splitlines()
    assert {lines[one.lineno - 1] for one in caught} == {"@hookimpl", "@frozen(kw_only=True)"}
    plugin = registry.usable("scheduler", "halving")
    assert plugin.options_class().build(None)(2) == 0.25
    rows = {row.kind: row for row in rows_of(registry) if row.name == "halving"}
    assert rows["scheduler"].columns()[5] == f"usable: {OLD_HOOK}"
    assert rows["optimizer"].columns()[5] == f"usable: {OLD_MEMBER}"


@pytest.mark.usefixtures("old")
def test_what_uses_none_of_it_hears_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_registry({"NEOBERT_PLUGINS": ""}).broken == ()


@pytest.mark.usefixtures("old")
def test_a_conformance_suite_warns_its_author():
    @attrs.frozen(kw_only=True)
    class Options:
        rate: float = 0.5

        def build(self, context):
            return "built"

    with pytest.warns(PluginDeprecationWarning, match="call it `lr`"):
        assert build("optimizer", Options(), make_context()) == "built"


@pytest.mark.usefixtures("old")
def test_an_old_name_is_the_new_one():
    with pytest.warns(PluginDeprecationWarning, match=r"use neobert\.SequenceLayout") as caught:
        assert neobert.Layout is neobert.SequenceLayout
    assert caught[0].filename == __file__
    with pytest.raises(AttributeError, match="no attribute 'NoSuch'"):
        _ = neobert.NoSuch


@pytest.mark.parametrize(("since", "removed"), [("0.3", "0.3"), ("0.3", "0.4"), ("1.2.1", "1.3.0")])
def test_nothing_goes_sooner_than_is_promised(since: str, removed: str):
    with pytest.raises(ValueError, match="it stays for 2 minor versions"):
        Deprecation(what="x", since=since, removed=removed, instead="y")


@pytest.mark.parametrize(("since", "removed"), [("0.3", "0.5"), ("0.3", "1.0"), ("1.2.1", "1.4")])
def test_what_is_late_enough(since: str, removed: str):
    assert str(Deprecation(what="x", since=since, removed=removed, instead="y")) == (
        f"x is deprecated since neobert {since} and gone in {removed}: y"
    )


def test_nothing_stays_longer_than_is_promised():
    """At the version that a table names, the entry and what it speaks of are taken out."""
    entries = [one for _, one in deprecation.HOOKS.values()] + [one for _, one in deprecation.NAMES.values()]
    overdue = [one.what for one in [*entries, *deprecation.MEMBERS.values()] if Version(one.removed) <= here()]
    assert overdue == []


def test_tables_and_code_agree():
    assert set(deprecation.HOOKS) <= {name for name in vars(hookspecs) if name.startswith("neobert_")}
    assert not set(deprecation.NAMES) & set(neobert.__all__)
    assert deprecated_members("loss", object) == []


def here() -> Version:
    return Version(version("neobert"))
