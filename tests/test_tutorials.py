"""The tutorials, from the first line to the last, as a reader types them; only smaller and shorter."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from neobert.cli import main
from neobert.commands.flags import FLAGS

TUTORIALS = Path(__file__).parent.parent / "docs" / "tutorials"
BLOCK = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
WITH_RECIPE = {flag.name for flag in FLAGS if flag.takes_recipe}

SMALL = (
    "--model.hidden_size=32",
    "--model.num_hidden_layers=2",
    "--model.num_attention_heads=2",
    "--model.intermediate_size=64",
    "--trainer.max_steps=3",
    "--trainer.save_steps=2",
    "--trainer.eval_steps=3",
    "--trainer.eval_max_batches=2",
    "--trainer.logging_steps=1",
    "--trainer.num_threads=1",
    "--trainer.use_cpu=true",
)
SMALLER = {
    "mine.toml": (
        "--tokenizer.vocab_size=300",
        "--dataset.path=corpus/[a-c]*.txt",
        "--trainer.per_device_eval_batch_size=2",
    ),
    "long.toml": ("--dataset.path=corpus/[a-c]*.txt", "--trainer.per_device_eval_batch_size=2"),
    "embed.toml": ("--trainer.per_device_train_batch_size=8", "--trainer.per_device_eval_batch_size=8"),
}
"""Recipe -> what makes a run of it small."""
STATUS = {"--diff": 1}
NOT_HERE = ("--profile", "gradient_accumulation_steps", "--explain loss.my_loss", "neobert-run recipe.toml")
"""What is run by other tests, or needs what the page installs: their words are checked all the same (test_docs.py)."""


IN_ORDER = ("own_text", "go_long", "embeddings", "write_a_plugin", "scale_out")


def test_the_tutorials_in_their_order(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """In one working directory: they go on from each other."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NEOBERT_CACHE", str(cache))
    for name in IN_ORDER:
        _follow(name, capfd)


def _follow(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    for language, words, text in BLOCK.findall((TUTORIALS / f"{name}.md").read_text(encoding="utf-8")):
        if "notest" in words:
            continue
        if language == "python":
            exec(compile(text, name, "exec"), {})
        elif language == "toml":
            Path(re.findall(r'title="([^"]+)"', words)[0]).write_text(text, encoding="utf-8")
        elif language == "bash":
            _run(text, capfd)


def _run(text: str, capfd: pytest.CaptureFixture[str]) -> None:
    for line in text.splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] != ["neobert-run"] or any(part in line for part in NOT_HERE):
            continue
        if "--trainer.resume_from_checkpoint" in words:  # as if the run had been stopped after two steps
            shutil.rmtree("runs/mine/checkpoints/3")
        recipe = words[1] if words[1] in SMALLER and not STATUS.keys() & set(words) else None
        small = (*SMALL, *SMALLER[recipe]) if recipe else ()
        expected = next((STATUS[word] for word in words if word in STATUS), 0)
        status = main([*words[1:], *small])
        said = capfd.readouterr()
        assert status == expected, f"{line}\n{said.out}\n{said.err}"


def test_every_tutorial_is_run() -> None:
    assert sorted(IN_ORDER) == sorted(page.stem for page in TUTORIALS.glob("*.md"))
