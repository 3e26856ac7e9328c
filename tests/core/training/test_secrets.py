"""Secrets of the environment reach no file and no line of a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from neobert.errors import UserError

Run = Callable[..., tuple[int, str]]
SECRETS = {
    "HF_TOKEN": "hf_secretsecretsecret1",
    "WANDB_API_KEY": "wandbsecretsecretsecret2",
    "AWS_SECRET_ACCESS_KEY": "awssecretsecretsecret3",
    "NEOBERT_OWN_SECRET": "ownsecretsecretsecret4",
}


def test_no_secret_is_written(go: Run, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    judged = ("--trainer.guard.threshold=0.001", "--trainer.guard.window=10", "--trainer.max_steps=20")
    printed = ""
    try:
        printed += go(*judged, "--trainer.save_steps=2")[1]
    except UserError as error:
        printed += str(error)
    assert "replay" in printed, "a kept step is looked into as well"
    said = capfd.readouterr()
    texts = [printed.encode(), said.out.encode(), said.err.encode()]
    files = [path for path in Path().rglob("*") if path.is_file()]
    assert {"environment.json", "heartbeat.json", "recipe.toml", "replay.json"} <= {path.name for path in files}
    texts += [path.read_bytes() for path in files]
    for name, value in SECRETS.items():
        assert not [text for text in texts if value.encode() in text], name
