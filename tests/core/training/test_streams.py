"""A run on a stream: interrupted and resumed it is the unbroken run; where the stream fails, nothing is lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from neobert.data import TrainingData
from neobert.errors import UserError

Run = Callable[..., tuple[int, str]]
TIMED = ("train/tokens_per_second", "train/data_wait_share")
STREAM = ("--dataset.streaming=true", "--datacollator.packing_window=40", "--trainer.logging_steps=1")
STEPS = 28


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Ids, layouts and masks of every step that any run trains on, by step."""
    seen: list[object] = []
    steps = TrainingData.steps

    def watched(self: TrainingData, cursor: object, first_step: int) -> object:
        for data in steps(self, cursor, first_step):
            for micro in data.micro_batches:
                batch = micro.batch
                fields = {name: value.tolist() for name, value in batch.fields.items()}
                seen.append((data.step, micro.seed, batch.input_ids.tolist(), batch.layout.lengths, fields))
            yield data

    monkeypatch.setattr(TrainingData, "steps", watched)
    return seen


def _lines(run: str) -> list[dict[str, float]]:
    lines = map(json.loads, Path(run, "metrics.jsonl").read_text().splitlines())
    return [{key: value for key, value in line.items() if key not in TIMED} for line in lines]


def _epoch_edges(run: str) -> list[int]:
    """The steps after which an epoch was over: the next one began in another."""
    epochs = [int(line["train/epoch"]) for line in _lines(run) if "train/epoch" in line]
    return [step for step in range(1, len(epochs)) if epochs[step] != epochs[step - 1]]


@pytest.mark.parametrize("workers", [0, 2])
def test_three_interruptions_inside_epochs_and_at_their_edges(go: Run, trained: list[object], workers: int) -> None:
    go(*STREAM, f"--trainer.max_steps={STEPS}", "--trainer.output_dir=whole")
    unbroken, edges = list(trained), _epoch_edges("whole")
    assert len(edges) >= 2
    first, second = edges[:2]
    plans = [(3, first + 2, STEPS - 2), (first, first + 4, second), (first - 1, first + 1, second + 1)]
    for number, plan in enumerate(plans if not workers else plans[1:2]):
        folder, resume = f"broken{number}", ()
        trained.clear()
        for until in (*plan, STEPS):
            more = (
                f"--trainer.max_steps={until}",
                f"--trainer.output_dir={folder}",
                f"--dataset.num_workers={workers}",
            )
            go(*STREAM, *more, *resume)
            resume = ("--trainer.resume_from_checkpoint=latest",)
        assert trained == unbroken
        state = f"checkpoints/{STEPS}/state.safetensors"
        assert Path(folder, state).read_bytes() == Path("whole", state).read_bytes()
        losses = [[line for line in _lines(run) if "train/loss" in line] for run in (folder, "whole")]
        assert losses[0] == losses[1]


def test_a_stream_that_fails_in_the_middle_loses_nothing(go: Run, workdir: Path) -> None:
    rows = [json.dumps({"text": line}) for line in Path("corpus.txt").read_text().splitlines()]
    whole = rows * 12
    Path("rows.jsonl").write_text("\n".join(whole) + "\n")
    go("--dataset.path=rows.jsonl", "--trainer.output_dir=whole", "--trainer.max_steps=10", *STREAM)
    tokenizer = ("--tokenizer", '{name = "pretrained", path = "whole/checkpoints/10/tokenizer"}')
    # The library reads a file ahead, and hands on nothing of the 1000 rows among which it fails.
    Path("parts").mkdir()
    Path("parts/1.jsonl").write_text("\n".join(whole[:700]) + "\n")
    Path("parts/2.jsonl").write_text("\n".join(whole[700:1300]) + "\n")
    Path("parts/3.jsonl").write_text("\n".join([*whole[1300:1340], rows[0][:9]]))
    strict = ("--dataset.path=parts", "--dataset.on_damaged_row=stop", *STREAM, *tokenizer)
    with pytest.raises(UserError) as refused:
        go(*strict, "--trainer.max_steps=900")
    said = str(refused.value)
    assert "parts/3.jsonl: row 41 is not JSON" in said
    saved = sorted(int(path.name) for path in Path("run/checkpoints").iterdir())
    assert len(saved) == 1
    assert saved[0] > 0
    assert f"the run got to step {saved[0]}, which is saved" in said
    Path("parts/3.jsonl").write_text("\n".join(whole[1300:]) + "\n")
    further = f"--trainer.max_steps={saved[0] + 2}"
    status, told = go(*strict, further, "--trainer.resume_from_checkpoint=latest")
    assert status == 0
    assert f"at step {saved[0]}" in told


def test_waiting_for_data_is_logged(go: Run) -> None:
    go(*STREAM)
    lines = map(json.loads, Path("run/metrics.jsonl").read_text().splitlines())
    shares = [line["train/data_wait_share"] for line in lines if "train/loss" in line]
    assert len(shares) == 6
    assert all(0.0 < share < 1.0 for share in shares)
