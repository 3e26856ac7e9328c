"""``neobert-run``: what is printed, and how it ends."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import attrs
import pytest

from neobert import cli
from neobert.commands.flags import FLAGS
from neobert.commands.listing import Row
from neobert.errors import UserError

HEAVY = ("torch", "transformers", "datasets", "accelerate", "numpy", "tokenizers")

OWN = '''
@frozen(kw_only=True)
class Own:
    """Says [bold]something[/bold] about itself."""

    requires: ClassVar[tuple[str, ...]] = ("a-package-that-nobody-has-installed>=1.2.3",)
    size: int = field(default=3, metadata={"help": "how big"})

    def build(self, context):
        return self

@hookimpl
def neobert_losses():
    return {"a_loss_with_a_rather_long_name_of_its_own": Own}
'''


def run(*tokens: str, path: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {key: value for key, value in os.environ.items() if key != "NEOBERT_PLUGINS"} | environment
    if path is not None:
        variables["PYTHONPATH"] = str(path)
    command = [sys.executable, "-m", "neobert.cli", *tokens]
    return subprocess.run(command, capture_output=True, text=True, env=variables, check=False)


class TestEndings:
    def ending(self, monkeypatch, error):
        from neobert.commands import version

        def fail(arguments):
            raise error

        monkeypatch.setattr(version, "run", fail)
        return cli.main(["--version"])

    def test_a_users_mistake_is_2_without_a_traceback(self, monkeypatch, capsys):
        assert self.ending(monkeypatch, UserError("first\n  second")) == 2
        assert capsys.readouterr() == ("", "neobert-run: first\n  second\n")

    def test_sigterm_is_143_and_what_was_begun_is_tidied_away(self, monkeypatch, capsys):
        tidied = []

        def terminated(tokens):
            try:
                os.kill(os.getpid(), signal.SIGTERM)
            finally:
                tidied.append(True)

        before = signal.getsignal(signal.SIGTERM)
        monkeypatch.setattr(cli, "parse", terminated)
        assert cli.main([]) == 143
        assert tidied
        assert capsys.readouterr().err == "terminated\n"
        assert signal.getsignal(signal.SIGTERM) is before

    def test_an_interrupt_is_130(self, monkeypatch):
        assert self.ending(monkeypatch, KeyboardInterrupt()) == 130

    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS])
    def test_a_disk_that_takes_nothing_is_one_line(self, monkeypatch, capsys, number):
        assert self.ending(monkeypatch, OSError(number, "x", "/some/file")) == 2
        assert capsys.readouterr().err.endswith(": /some/file\n")

    @pytest.mark.parametrize("error", [ValueError("ours"), OSError(errno.EBADF, "x"), BrokenPipeError()])
    def test_our_own_faults_keep_their_traceback(self, monkeypatch, error):
        with pytest.raises(type(error)):
            self.ending(monkeypatch, error)

    def test_a_reader_that_leaves_is_no_fault(self):
        command = f"{sys.executable} -m neobert.cli --list-plugins --json | head -c 1; echo ${{PIPESTATUS[0]}}"
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
        assert done.stderr == ""
        assert done.stdout in ("[141\n", "[0\n")  # 0 when the whole list fitted into the pipe

    def test_no_arguments(self):
        done = run()
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("neobert-run: which recipe?")

    def test_version_and_help(self):
        assert run("--version").stdout.startswith("neobert 0.")
        done = run("--help")
        assert done.returncode == 0
        assert all(flag.name in done.stdout for flag in FLAGS)

    def test_an_unknown_name_in_the_environment(self):
        done = run("--list-plugins", NEOBERT_PLUGINS="no-such")
        assert (done.returncode, done.stdout) == (2, "")
        assert "NEOBERT_PLUGINS names 'no-such'" in done.stderr

    def test_export_of_nothing(self, tmp_path):
        done = run("--export", str(tmp_path / "nothing"), str(tmp_path / "out"))
        assert done.returncode == 2
        assert "there is no checkpoint folder" in done.stderr


class TestListing:
    def test_one_plugin_a_line_with_tabs_and_nothing_shortened(self, install):
        path = install("their-own", {"own": "their_own"}, {"their_own": OWN})
        install("their-broken", {"bad": "their_broken"}, {"their_broken": "raise SystemExit('a\\tb\\nc')"})
        done = run("--list-plugins", path=path, COLUMNS="20")
        assert done.returncode == 0
        lines = [line.split("\t") for line in done.stdout.splitlines()]
        assert {len(line) for line in lines} == {6}
        (own,) = [line for line in lines if line[2] == "their-own"]
        needs = "a-package-that-nobody-has-installed>=1.2.3"
        assert own == [
            "loss",
            "a_loss_with_a_rather_long_name_of_its_own",
            "their-own",
            "1.0",
            "Says [bold]something[/bold] about itself.",
            f'unusable: needs {needs} (pip install "{needs}")',
        ]
        (broken,) = [line for line in lines if line[2] == "their-broken"]
        assert broken[:2] == ["-", "bad"]
        assert broken[5].startswith("broken: their_broken does not load: SystemExit")

    def test_clashes_are_listed_with_both_distributions(self, install):
        path = install("one", {"a": "one_loss"}, {"one_loss": OWN})
        install("two", {"b": "two_loss"}, {"two_loss": OWN})
        done = run("--list-plugins", "--kind", "loss", path=path)
        clash = [line.split("\t") for line in done.stdout.splitlines() if "\tclash: " in line]
        assert done.returncode == 0
        assert [(line[2], line[5]) for line in clash] == [
            ("one", "clash: the same name comes from two 1.0 (b)" + install_hint()),
            ("two", "clash: the same name comes from one 1.0 (a)" + install_hint()),
        ]

    def test_json(self, install):
        path = install("their-own", {"own": "their_own"}, {"their_own": OWN})
        rows = json.loads(run("--list-plugins", "--json", "--kind", "loss", path=path).stdout)
        (own,) = [row for row in rows if row["distribution"] == "their-own"]
        assert (own["kind"], own["status"], own["entry_point"]) == ("loss", "unusable", "own")
        assert own["reason"] == "needs a-package-that-nobody-has-installed>=1.2.3"

    def test_an_unknown_kind_is_told_the_nearest(self):
        done = run("--list-plugins", "--kind", "optimiser")
        assert done.returncode == 2
        assert 'did you mean "optimizer"?' in done.stderr

    @pytest.mark.parametrize("columns", [40, 90, 240])
    def test_a_terminal_gets_a_table_that_cuts_nothing(self, install, monkeypatch, capsys, columns):
        install("their-own", {"own": "their_own"}, {"their_own": OWN})
        monkeypatch.setenv("COLUMNS", str(columns))
        from neobert.commands.listing import _print_table, rows_of
        from neobert.registry import load_registry

        _print_table([row.columns() for row in rows_of(load_registry())])
        printed = capsys.readouterr().out
        assert "\N{HORIZONTAL ELLIPSIS}" not in printed
        for whole in (
            "a_loss_with_a_rather_long_name_of_its_own",
            "their-own",
            "a-package-that-nobody-has-installed>=1.2.3",
            "[bold]something[/bold]",
        ):
            assert whole in printed
        if columns == 240:
            assert max(map(len, printed.splitlines())) <= columns

    def test_a_line_stays_a_line_whatever_a_plugin_says(self):
        row = Row("loss", "own", "theirs", "1", "entry", "a\tb\nc\x1b[31m", "unusable", reason="d\te")
        assert row.columns() == ("loss", "own", "theirs", "1", "a b c?[31m", "unusable: d e")

    def test_every_built_in_is_usable_or_says_what_to_install(self):
        rows = json.loads(run("--list-plugins", "--json", NEOBERT_PLUGINS="").stdout)
        assert {row["distribution"] for row in rows} == {"neobert"}
        for row in rows:
            assert row["status"] == "usable" or row["install"], row
            assert row["summary"], row


def install_hint() -> str:
    return ' (pip install "a-package-that-nobody-has-installed>=1.2.3")'


class TestExplain:
    def test_a_plugin(self, install):
        path = install("their-own", {"own": "their_own"}, {"their_own": OWN})
        done = run("--explain", "loss.a_loss_with_a_rather_long_name_of_its_own", path=path)
        assert done.returncode == 0
        source = (path / "their_own.py").read_text(encoding="utf-8").splitlines()
        line = source.index("@frozen(kw_only=True)") + 1
        for expected in (
            "Says [bold]something[/bold] about itself.",
            f"{path / 'their_own.py'}:{line}",
            "their-own 1.0, entry point own",
            "cannot run here: needs a-package-that-nobody-has-installed>=1.2.3",
            "size    int    default 3\n      how big",
        ):
            assert expected in done.stdout

    def test_the_cores_keys_are_explained_with_every_plugin_of_the_kind(self):
        done = run("--explain", "model.neobert")
        assert "hidden_size    int (>= 1)    default 768" in done.stdout
        assert "weights    string | unset    default unset" in done.stdout

    def test_the_trainer(self):
        from neobert.recipe.trainer import TrainerOptions

        done = run("--explain", "trainer")
        assert done.returncode == 0
        assert all(f"  {key}    " in done.stdout for key in attrs.fields_dict(TrainerOptions))

    def test_both_claimants_of_a_clash(self, install):
        path = install("one", {"a": "one_loss"}, {"one_loss": OWN})
        install("two", {"b": "two_loss"}, {"two_loss": OWN})
        done = run("--explain", "loss.a_loss_with_a_rather_long_name_of_its_own", path=path)
        assert "one 1.0, entry point a" in done.stdout
        assert "two 1.0, entry point b" in done.stdout

    @pytest.mark.parametrize(
        ("what", "expected"),
        [
            ("los.masked_lm", 'did you mean "loss"?'),
            ("loss.masked_ml", 'did you mean "masked_lm"?'),
            ("loss", "names: "),
            ("trackers.nothing", "unknown tracker"),
        ],
    )
    def test_what_does_not_exist(self, what, expected):
        done = run("--explain", what)
        assert (done.returncode, done.stdout) == (2, "")
        assert expected in done.stderr


@pytest.mark.parametrize(
    "tokens",
    [
        ["--help"],
        ["--version"],
        ["--list-plugins"],
        ["--list-plugins", "--json"],
        ["--explain", "model.neobert"],
    ],
)
def test_looking_around_imports_nothing_heavy(tokens):
    script = (
        "import sys\nfrom neobert.cli import main\n"
        f"status = main({tokens!r})\n"
        f"heavy = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "sys.stderr.write(f'{status} {heavy}')\n"
    )
    variables = {**os.environ, "NEOBERT_PLUGINS": ""}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=variables, check=False)
    assert done.stderr == "0 []"
