"""``neobert-tokenize``: shards, kills and joins."""

from __future__ import annotations

import fcntl
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from neobert_plugins.tokenize_command import main

COMMAND = (sys.executable, "-m", "neobert_plugins.tokenize_command")


@pytest.mark.parametrize("shards", [2, 7])
@pytest.mark.parametrize("more", [[], ["--max-samples", "77"]])
def test_shards_joined_are_the_whole(place, shards, more, tokens, rows_of):
    """Two shards take whole files, seven (more than files) and some samples take rows."""
    assert main(tokens(*more)) == 0
    for shard in reversed(range(shards)):
        assert main(tokens(*more, "--shard", f"{shard}/{shards}", "--rows-per-part", "9", output="shared")) == 0
    assert main(["--join", "--output", "shared"]) == 0
    assert rows_of("shared") == rows_of()
    assert not Path("shared.shards").exists()


def test_a_kill_in_the_middle_of_a_part_loses_that_part_alone(place, make_texts, tokens, rows_of):
    """The ids of a run that was killed, gone on with and joined are those of the unbroken one."""
    texts = make_texts(6000, seed=1)
    Path("big.txt").write_text("\n".join(texts) + "\n")
    options = ["--rows-per-part", "1500", "--shard", "0/2"]
    command = [*COMMAND, *tokens(*options, output="killed", dataset="big.txt")]
    running = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    folder = Path("killed.shards/shard-00000-of-00002")
    wait_for(lambda: list(folder.glob("part-*")) and list(folder.glob(".part-00001*/rows.arrow")), running)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert list(folder.glob(".part-*")), "it was not killed in the middle"
    assert not (folder / "shard.json").exists()
    whole = {path: (path / "rows.arrow").stat().st_mtime_ns for path in folder.glob("part-*")}
    assert main(["--join", "--output", "killed"]) == 2
    for shard in ("0/2", "1/2"):
        options = ["--rows-per-part", "1500", "--shard", shard]
        assert main(tokens(*options, output="killed", dataset="big.txt")) == 0
    assert whole == {path: (path / "rows.arrow").stat().st_mtime_ns for path in whole}, "what was whole is kept"
    assert not list(folder.glob(".part-*"))
    assert main(["--join", "--output", "killed"]) == 0
    assert main(tokens(output="unbroken", dataset="big.txt")) == 0
    assert rows_of("killed") == rows_of("unbroken")


def wait_for(condition, running, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert running.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < end
        time.sleep(0.0005)


def test_a_join_that_was_killed_is_gone_on_with(place, monkeypatch, tokens, rows_of, expected):
    from neobert.data import joining

    def killed(*arguments, **keys):
        raise KeyboardInterrupt

    assert main(tokens("--shard", "0/1")) == 0
    with monkeypatch.context() as patch:
        patch.setattr(joining, "complete_folder", killed)
        assert main(["--join", "--output", "ids"]) == 130
    assert not Path("ids").exists()
    with monkeypatch.context() as patch:
        patch.setattr(joining.shutil, "rmtree", killed)
        assert main(["--join", "--output", "ids"]) == 130
    assert Path("ids.shards").exists()
    assert main(["--join", "--output", "ids"]) == 0
    assert rows_of() == expected()
    assert not Path("ids.shards").exists()


def test_a_join_that_is_killed_leaves_nothing_behind(place, tokens, rows_of, expected):
    """It is killed once its folder has files; the next one makes it anew, and nothing hidden stays."""
    assert main(tokens("--shard", "0/1", "--rows-per-part", "20")) == 0
    killed = "import os, signal; from neobert.data import joining; from neobert_plugins.tokenize_command import main; "
    killed += "joining.complete_folder = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL); "
    killed += "main(['--join', '--output', 'ids'])"
    assert subprocess.run([sys.executable, "-c", killed], check=False).returncode == -signal.SIGKILL
    assert len(list(Path(".ids.joining").iterdir())) == 6
    assert not Path("ids").exists()
    Path(".ids.mine").mkdir()
    assert main(["--join", "--output", "ids"]) == 0
    assert rows_of() == expected()
    assert [path.name for path in Path().glob(".*")] == [".ids.mine"]


def test_two_joins_at_once(place, tokens, capsys):
    assert main(tokens("--shard", "0/1")) == 0
    with Path("ids.shards/.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert main(["--join", "--output", "ids"]) == 2
    assert "another process is joining ids.shards: wait for it" in capsys.readouterr().err
    assert main(["--join", "--output", "ids"]) == 0


class TestJoining:
    @pytest.fixture
    def shards(self, place, tokens):
        for shard in range(3):
            assert main(tokens("--shard", f"{shard}/3", "--rows-per-part", "30")) == 0
        return Path("ids.shards")

    def refused(self, capsys, *fragments):
        capsys.readouterr()
        assert main(["--join", "--output", "ids"]) == 2
        said = capsys.readouterr().err
        assert [fragment for fragment in fragments if fragment not in said] == [], said
        assert not Path("ids").exists()

    def test_every_shard_that_is_wrong_is_named_in_one_answer(self, shards, capsys, tokens, rows_of, expected):
        shutil.rmtree(shards / "shard-00000-of-00003")
        file = shards / "shard-00001-of-00003/part-00001/rows.arrow"
        content = bytearray(file.read_bytes())
        content[-40] ^= 1
        file.write_bytes(content)
        (shards / "shard-00002-of-00003/shard.json").unlink()
        self.refused(
            capsys,
            "shard 0/3: missing",
            "shard 1/3: part-00001: rows.arrow is not what was written (its sha256 differs)",
            "shard 2/3: not finished: it has 2 parts",
            "run again with --shard 0/3, --shard 1/3, --shard 2/3, then join",
        )
        for shard in range(3):
            assert main(tokens("--shard", f"{shard}/3", "--rows-per-part", "30")) == 0
        assert main(["--join", "--output", "ids"]) == 0
        assert rows_of() == expected()

    def test_shards_of_other_options_or_another_tokenizer(self, shards, capsys, make_tokenizer, tokens):
        shutil.rmtree(shards / "shard-00001-of-00003")
        make_tokenizer(words=90).save_pretrained("tokenizer")
        assert main(tokens("--shard", "1/3", "--rows-per-part", "30", "--no-special-tokens")) == 0
        self.refused(capsys, "shard 1/3: made otherwise: tokenization.fingerprint = ", "tokenization.prefix = [] there")

    def test_shards_of_another_number(self, shards, capsys, tokens):
        assert main(tokens("--shard", "0/2")) == 0
        self.refused(capsys, "shards of 2 and of 3")

    def test_nothing_to_join(self, place, capsys):
        self.refused(capsys, "there is nothing to join: no folder ids.shards")

    def test_counts_that_do_not_add_up(self, shards, capsys):
        file = shards / "shard-00002-of-00003/shard.json"
        said = json.loads(file.read_text())
        said["counts"]["documents"] += 1
        file.write_text(json.dumps(said))
        self.refused(capsys, "shard 2/3: its parts hold", "shard.json says")

    def test_two_processes_of_one_shard(self, shards, capsys, tokens):
        with (shards / "shard-00001-of-00003/.lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            assert main(tokens("--shard", "1/3", "--rows-per-part", "30")) == 2
        assert "another process is writing" in capsys.readouterr().err
