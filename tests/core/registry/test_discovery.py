"""Every way in which a stranger's distribution can go wrong, and that nothing else is touched by it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from neobert.errors import UserError
from neobert.kinds import KINDS
from neobert.registry import Registry, default_registry, load_registry

if TYPE_CHECKING:
    from pathlib import Path

GOOD = '''
@frozen(kw_only=True)
class Window:
    """Local attention.

    More about it.
    """

    window: int = 256

    def build(self, context):
        return self

@hookimpl
def neobert_attn_backends():
    return {"window": Window}
'''

LOSS = """
@frozen(kw_only=True)
class Own:
    def build(self, context):
        return self

@hookimpl
def neobert_losses():
    return {"own": Own}
"""


def strangers(registry: Registry) -> list[str]:
    return [f"{plugin.kind}.{plugin.name}" for plugin in registry.plugins if plugin.distribution != "neobert"]


def faults(registry: Registry) -> list[str]:
    return [broken.error for broken in registry.broken if broken.source.distribution != "neobert"]


def built_ins(registry: Registry) -> set[tuple[str, str]]:
    return {(plugin.kind, plugin.name) for plugin in registry.plugins if plugin.distribution == "neobert"}


def test_a_strangers_plugin_is_found_with_its_distribution(install):
    install("their-window", {"window": "their_window"}, {"their_window": GOOD}, version="2.1")
    plugin = load_registry().find("attn_backend", "window")
    found = (plugin.distribution, plugin.version, plugin.entry_point, plugin.summary, plugin.problem())
    assert found == ("their-window", "2.1", "window", "Local attention.", None)
    assert plugin.options_class(window=3).window == 3


def test_an_entry_point_may_be_an_object(install):
    source = """
    @frozen(kw_only=True)
    class Own:
        def build(self, context):
            return self

    class Hooks:
        @hookimpl
        def neobert_losses(self):
            return {"own": Own}

        @hookimpl(specname="neobert_optimizers")
        def mine(self):
            return {"mine": Own}

    hooks = Hooks()
    """
    install("their-hooks", {"hooks": "their_hooks:hooks"}, {"their_hooks": source})
    assert strangers(load_registry()) == ["loss.own", "optimizer.mine"]


BROKEN = {
    "import error": (
        "import no_such_module_at_all",
        "ModuleNotFoundError: No module named 'no_such_module_at_all'",
    ),
    "syntax error": ("def (", "SyntaxError"),
    "exit": ("import sys; sys.exit(3)", "SystemExit: it called sys.exit(3)"),
    "base exception": ("class Odd(BaseException): pass\nraise Odd('odd')", "Odd: odd"),
    "message fails": (
        "class Odd(Exception):\n    def __str__(self): raise ValueError\nraise Odd",
        "Odd: (its message cannot be shown)",
    ),
    "message of many lines": ("raise ValueError('one\\n\\ttwo')", "ValueError: one two"),
    "nothing": ("x = 1", "provides nothing: their_broken"),
    "empty answer": ("@hookimpl\ndef neobert_losses(): return {}", "provides nothing"),
    "misspelt hook": (
        "@hookimpl\ndef neobert_optimisers(): return {}",
        "there is no hook neobert_optimisers(); did you mean neobert_optimizers()?",
    ),
    "forgotten mark": (
        "def neobert_losses(): return {}",
        "neobert_losses() is not marked: put @hookimpl above it",
    ),
    "wrapper": ("@hookimpl(wrapper=True)\ndef neobert_losses():\n    return (yield)", "is a wrapper"),
    "old wrapper": ("@hookimpl(hookwrapper=True)\ndef neobert_losses():\n    yield", "is a wrapper"),
    "arguments": ("@hookimpl\ndef neobert_losses(config): return {}", "config"),
    "hook fails": (
        "@hookimpl\ndef neobert_losses(): return 1 / 0",
        "neobert_losses() failed: ZeroDivisionError",
    ),
    "hook exits": ("@hookimpl\ndef neobert_losses(): raise SystemExit(0)", "sys.exit(0)"),
    "hook gives a list": (
        "@hookimpl\ndef neobert_losses(): return [Part]",
        "returns a dict of name -> options class",
    ),
    "hook gives None": (
        "@hookimpl\ndef neobert_losses(): return None",
        "returns a dict of name -> options class",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_entry_point_is_listed_and_nothing_else_is_touched(install, case):
    source, expected = BROKEN[case]
    before = built_ins(load_registry())
    install("their-window", {"window": "their_window"}, {"their_window": GOOD})
    install("their-broken", {"bad": "their_broken"}, {"their_broken": source}, version="0.3")
    registry = load_registry()
    assert strangers(registry) == ["attn_backend.window"]
    assert built_ins(registry) == before
    broken = [item for item in registry.broken if item.source.distribution == "their-broken"]
    assert [(item.source.version, item.source.entry_point) for item in broken] == [("0.3", "bad")]
    assert expected in broken[0].error
    assert "\n" not in broken[0].error


def test_a_value_that_names_no_object_is_broken(install):
    install("their-window", {"window": "their_window:nothing"}, {"their_window": GOOD})
    assert "AttributeError" in faults(load_registry())[0]


def test_an_interrupt_from_the_keyboard_stops_discovery(install):
    install("their-window", {"window": "their_window"}, {"their_window": "raise KeyboardInterrupt"})
    with pytest.raises(KeyboardInterrupt):
        load_registry()


def test_a_fault_in_one_hook_leaves_the_entry_points_other_hooks(install):
    source = LOSS + "\n@hookimpl\ndef neobert_optimisers(): return {}\n\ndef neobert_models(): return {}\n"
    install("their-loss", {"loss": "their_loss"}, {"their_loss": source})
    registry = load_registry()
    assert strangers(registry) == ["loss.own"]
    assert len(faults(registry)) == 2


def test_what_a_plugin_prints_stays_out_of_stdout(install, capsys):
    install("their-loss", {"loss": "their_loss"}, {"their_loss": LOSS + "\nprint('hello')\n"})
    load_registry()
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "hello\n")


def test_two_plugins_under_one_name_are_a_clash_and_neither_is_found(install):
    install("one", {"a": "one_loss"}, {"one_loss": LOSS})
    install("two", {"b": "two_loss"}, {"two_loss": LOSS + GOOD}, version="3")
    registry = load_registry()
    assert strangers(registry) == ["attn_backend.window"]
    (clash,) = registry.clashes
    assert (clash.kind, clash.name) == ("loss", "own")
    assert [str(plugin.source) for plugin in clash.plugins] == ["one 1.0", "two 3"]
    with pytest.raises(UserError, match=r"one 1\.0 \(a\) and two 3 \(b\)"):
        registry.find("loss", "own")


def test_one_module_of_two_distributions_is_a_clash_too(install):
    install("one", {"a": "one_loss"}, {"one_loss": LOSS})
    install("two", {"a": "one_loss"})
    (clash,) = load_registry().clashes
    assert [plugin.distribution for plugin in clash.plugins] == ["one", "two"]


def test_a_built_in_name_taken_by_a_stranger_is_a_clash(install):
    kind, name = sorted(built_ins(load_registry()))[0]
    source = LOSS.replace("neobert_losses", KINDS[kind].hook).replace('"own"', f'"{name}"')
    install("one", {"a": "one_loss"}, {"one_loss": source})
    (clash,) = load_registry().clashes
    assert [plugin.distribution for plugin in clash.plugins] == ["neobert", "one"]


def test_a_distribution_found_twice_does_not_clash_with_itself(install, tmp_path, monkeypatch):
    install("their-loss", {"loss": "their_loss"}, {"their_loss": LOSS})
    install("their_loss", {"loss": "their_loss"}, {"their_loss": LOSS}, version="0.9", folder=tmp_path / "other")
    monkeypatch.syspath_prepend(str(tmp_path / "other"))
    registry = load_registry()
    assert strangers(registry) == ["loss.own"]
    assert (registry.clashes, faults(registry)) == ((), [])


def test_one_module_under_two_entry_points_of_a_distribution_is_one_plugin(install):
    install("their-loss", {"a": "their_loss", "b": "their_loss"}, {"their_loss": LOSS})
    registry = load_registry()
    assert strangers(registry) == ["loss.own"]
    assert registry.clashes == ()


@pytest.mark.parametrize("text", [b"[neobert.plugins]\nno equals sign\n", b"[neobert.plugins]\nx = \xff\xfe\n"])
def test_unreadable_entry_points_of_one_distribution_hide_no_other(install, text):
    before = built_ins(load_registry())
    root = install("their-loss", {"loss": "their_loss"}, {"their_loss": LOSS})
    install("unreadable", {}, version="0.1")
    (root / "unreadable-0.1.dist-info" / "entry_points.txt").write_bytes(text)
    registry = load_registry()
    assert strangers(registry) == ["loss.own"]
    assert built_ins(registry) == before
    (broken,) = [item for item in registry.broken if item.source.distribution == "unreadable"]
    assert broken.source.version == "0.1"
    assert broken.error


def test_a_distribution_without_metadata_is_named_after_its_folder(install):
    root = install("their-loss", {"loss": "their_loss"}, {"their_loss": LOSS})
    (root / "their_loss-1.0.dist-info" / "METADATA").unlink()
    plugin = load_registry().find("loss", "own")
    assert (plugin.distribution, plugin.version) == ("their_loss", "1.0")


class TestEnvironmentVariable:
    def test_only_the_built_ins_and_the_named_are_loaded(self, install, tmp_path):
        install("one", {"a": "one_loss"}, {"one_loss": LOSS})
        witness = tmp_path / "loaded"
        install("two", {"b": "two_loss"}, {"two_loss": f"open({str(witness)!r}, 'w')" + GOOD})
        registry = load_registry({"NEOBERT_PLUGINS": " a , "})
        assert strangers(registry) == ["loss.own"]
        assert built_ins(registry) == built_ins(load_registry({"NEOBERT_PLUGINS": ""}))
        assert not witness.exists()
        assert strangers(load_registry({"NEOBERT_PLUGINS": "two:b,a"})) == ["attn_backend.window", "loss.own"]

    def test_empty_means_the_built_ins_alone(self, install):
        install("one", {"a": "one_loss"}, {"one_loss": LOSS})
        registry = load_registry({"NEOBERT_PLUGINS": ""})
        assert strangers(registry) == []
        assert built_ins(registry)

    def test_an_unknown_name_is_an_error_with_the_nearest(self, install, monkeypatch):
        install("one", {"window": "one_loss"}, {"one_loss": LOSS})
        monkeypatch.setenv("NEOBERT_PLUGINS", "windw")
        with pytest.raises(UserError, match=r"'windw'.*did you mean \"window\""):
            load_registry()


def test_every_hook_is_heard(install):
    hooks = "\n".join(f"@hookimpl\ndef {kind.hook}(): return {{'own_{kind.name}': Own}}" for kind in KINDS.values())
    source = LOSS.partition("@hookimpl")[0] + hooks
    install("all-kinds", {"all": "all_kinds"}, {"all_kinds": source})
    assert strangers(load_registry()) == [f"{kind}.own_{kind}" for kind in KINDS]


def test_the_default_registry_is_made_once():
    assert default_registry() is default_registry()


def test_the_core_names_no_built_in(tmp_path: Path):
    """Without the distribution's entry points there is nothing, and an error says why."""
    registry = Registry.of([])
    with pytest.raises(UserError, match="is the distribution neobert installed"):
        registry.find("loss", "masked_lm")
