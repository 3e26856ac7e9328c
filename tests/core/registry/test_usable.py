"""Whether a plugin can run here: requirements, `available`, and what a person is told."""

from __future__ import annotations

import sys

import pytest

from neobert.errors import UserError
from neobert.registry import (
    BrokenPluginError,
    Plugin,
    UnknownPluginError,
    UnusablePluginError,
    load_registry,
)

TEMPLATE = """
@frozen(kw_only=True)
class Own:
    requires: ClassVar[tuple[str, ...]] = {requires!r}
{available}
    def build(self, context):
        return self

@hookimpl
def neobert_losses():
    return {{"own_loss": Own}}
"""


@pytest.fixture
def own(install):
    """``own(requires, available)``: the plugin of a stranger with these."""

    def make(*requires: str, available: str = "") -> Plugin:
        lines = ["    @classmethod", "    def available(cls):", f"        {available}"] if available else []
        source = TEMPLATE.format(requires=requires, available="\n".join(lines))
        install("theirs", {"own": "their_loss"}, {"their_loss": source})
        return load_registry().find("loss", "own_loss")

    return make


def package(install, version: str = "2.6.1", metadata: str = "") -> None:
    install("some-kernel", {}, version=version, metadata=metadata)


def test_nothing_required_is_no_problem(own):
    plugin = own()
    assert (plugin.problem(), plugin.install()) == (None, None)


def test_a_missing_requirement_is_named_with_the_line_that_installs_it(own):
    plugin = own("some-kernel[fast]>=2.7; python_version >= '3'")
    assert plugin.problem() == "needs some-kernel[fast]>=2.7"
    assert plugin.install() == 'pip install "some-kernel[fast]>=2.7"'


def test_a_version_too_old_is_named(own, install):
    package(install)
    plugin = own("some-kernel>=2.7")
    assert plugin.problem() == "needs some-kernel>=2.7 (2.6.1 is installed)"


@pytest.mark.parametrize("version", ["2.7", "2.8.dev3", "2.8rc1", "2.9+cpu"])
def test_versions_that_will_do_with_pre_releases_too(own, install, version):
    package(install, version)
    assert own("Some_Kernel>=2.7").problem() is None


def test_a_marker_that_does_not_apply_is_skipped(own):
    assert own("no-such-kernel; sys_platform == 'nowhere'").problem() is None


def test_an_extra_asks_for_its_own_requirements(own, install):
    package(
        install,
        "3.0",
        "Provides-Extra: fast\nRequires-Dist: no-such-lib>=4; extra == 'fast'\n"
        "Requires-Dist: another; extra == 'slow'\n",
    )
    plugin = own("some-kernel[fast]")
    assert plugin.problem() == "needs some-kernel[fast], which needs no-such-lib>=4"
    assert plugin.install() == 'pip install "some-kernel[fast]"'


def test_an_extra_that_does_not_exist_is_a_problem(own, install):
    package(install, "3.0")
    assert "has no extra 'fast'" in str(own("some-kernel[fast]").problem())


def test_extras_that_ask_for_each_other_end(own, install):
    package(install, "3.0", "Provides-Extra: fast\nRequires-Dist: some-kernel[fast]; extra == 'fast'\n")
    assert own("some-kernel[fast]").problem() is None


def test_no_requirement_is_imported(own, install):
    install("some-kernel", {}, {"some_kernel": "raise RuntimeError('imported')"}, version="3.0")
    assert own("some-kernel").problem() is None
    assert "some_kernel" not in sys.modules


def test_all_missing_are_named(own):
    plugin = own("no-such-a", "no-such-b>1")
    assert plugin.problem() == "needs no-such-a; needs no-such-b>1"
    assert plugin.install() == 'pip install "no-such-a" "no-such-b>1"'


def test_available_adds_a_reason(own):
    assert own("no-such-a", available="return 'CUDA'").problem() == "needs no-such-a; CUDA"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("return 'no\\ndriver'", "no driver"),
        ("raise OSError('no driver')", "available() failed: OSError: no driver"),
        ("raise SystemExit(2)", "available() failed: SystemExit: it called sys.exit(2)"),
        ("return True", "available() returned True; it returns a reason, or None"),
        ("return ''", "available() returned ''; it returns a reason, or None"),
    ],
)
def test_an_exception_in_available_is_the_reason(own, body, expected):
    problem = own(available=body).problem()
    assert problem is not None
    assert problem.startswith(expected)


def test_a_missing_requirement_explains_an_exception(own):
    assert own("no-such-a", available="import no_such_a").problem() == "needs no-such-a"


class TestErrors:
    def test_usable_raises_with_reason_and_install_line(self, own):
        own("no-such-a>=1")
        with pytest.raises(UnusablePluginError) as caught:
            load_registry().usable("loss", "own_loss")
        assert str(caught.value).splitlines() == [
            'loss "own_loss": this plugin of theirs 1.0 cannot run here: needs no-such-a>=1',
            '  pip install "no-such-a>=1"',
            "  or name another: classification, cosent, cosine_mse, distill, full_logits_lm, info_nce, masked_lm, "
            "matryoshka, regression, simcse, supcon",
        ]
        assert isinstance(caught.value, UserError)

    def test_an_unknown_name_is_told_the_nearest_and_what_there_is(self, own):
        own("no-such-a>=1")
        with pytest.raises(UnknownPluginError) as caught:
            load_registry({"NEOBERT_PLUGINS": "own"}).find("loss", "own_los")
        first, second = caught.value.hint.splitlines()[:2]
        assert first == 'unknown loss; did you mean "own_loss"?'
        assert second.startswith("available: ")
        assert second.endswith("    here but not usable: own_loss (needs no-such-a>=1)")

    def test_a_broken_entry_point_is_told_with_an_unknown_name(self, install):
        install("theirs", {"point": "their_loss"}, {"their_loss": "raise ValueError('oh')"})
        with pytest.raises(
            UnknownPluginError, match=r"point of theirs 1\.0 \(their_loss does not load: ValueError: oh"
        ):
            load_registry().find("loss", "their_own")

    def test_a_broken_class_is_told_by_its_name(self, install):
        source = "@hookimpl\ndef neobert_losses(): return {'own': int}"
        install("theirs", {"point": "their_loss"}, {"their_loss": source})
        with pytest.raises(BrokenPluginError, match="no attrs class"):
            load_registry().find("loss", "own")

    def test_a_kind_that_does_not_exist_is_a_programmers_error(self):
        with pytest.raises(ValueError, match="no such kind"):
            load_registry().find("optimiser", "adamw")


def test_a_default_means_the_built_in_and_a_recipe_that_names_a_clash_is_refused(install, tmp_path):
    """Installing a plugin changes no run: not even one under the name of a default."""
    from neobert.errors import RecipeError
    from neobert.recipe import load_recipe
    from neobert.registry import load_registry

    code = (
        "from attrs import frozen\nfrom neobert import hookimpl\n\n"
        "@frozen(kw_only=True)\nclass Mine:\n    '''Mine.'''\n\n    def build(self, context):\n        return None\n\n"
        "@hookimpl\ndef neobert_losses():\n    return {'masked_lm': Mine}\n"
    )
    install("their-own", {"own": "their_own"}, {"their_own": code})
    registry = load_registry()
    silent, naming = tmp_path / "silent.toml", tmp_path / "naming.toml"
    silent.write_text('[dataset]\nname = "stdlib"\n', encoding="utf-8")
    naming.write_text('[dataset]\nname = "stdlib"\n[loss]\nname = "masked_lm"\n', encoding="utf-8")
    assert load_recipe(silent, registry=registry).loss.distribution == "neobert"
    with pytest.raises(RecipeError, match="several plugins have this name"):
        load_recipe(naming, registry=registry)
