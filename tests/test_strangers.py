"""Every kind by a stranger at once: trained, saved, resumed bit for bit, exported, and held to the same promises."""

from __future__ import annotations

import importlib
import io
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.console import Console
from safetensors import safe_open

from neobert import BuildContext, NotBuiltError, Part, testing
from neobert.export.compare import reference_encoder
from neobert.recipe import load_recipe
from neobert.registry import default_registry
from neobert.training.export_checkpoint import export_checkpoint
from neobert.training.inspect import describe
from neobert.training.run import run

SOURCES = Path(__file__).parent / "strangers"
MODULES = ("stranger_plugin", "stranger_parts")
RECIPE = """
trackers = ["jsonl", "stranger"]
model = "stranger"
tokenizer = "stranger"
datacollator = "stranger"
loss = "stranger_head"
optimizer = "stranger"
scheduler = "stranger"
checkpointer = "stranger"

[dataset]
name = "stranger"
max_seq_length = 32

[trainer]
output_dir = "run"
max_steps = 4
save_steps = 2
per_device_train_batch_size = 4
gradient_accumulation_steps = 2
logging_steps = 1
num_threads = 1
use_cpu = true
"""
NEOBERT = [
    "--model=neobert",
    "--model.hidden_size=16",
    "--model.num_hidden_layers=2",
    "--model.num_attention_heads=2",
    "--model.intermediate_size=32",
    "--model.dropout_prob=0.0",
    "--loss=masked_lm",
]
NESTED = """[{name="stranger_wrapping", inner={name="stranger_wrapping", inner="eager"}}, "stranger_loop"]"""
VARIANTS = {
    "as it is": [],
    "packed": ["--datacollator.pack_sequences=true"],
    "a restless optimizer": ["--optimizer=stranger_restless"],
    "a loss of losses": ["--loss=stranger_sum"],
    "no vocabulary head": ["--loss=stranger_parity"],
    "no mask token, labels a sequence": ["--loss=stranger_parity", "--tokenizer.mask=false"],
    "attention within attention": ["--model.attention", NESTED],
    "attention with weights": ["--model.attention", '["stranger_gated", "stranger_gated"]'],
    "several columns": ['--dataset.columns=["a", "b"]', "--dataset.text_column=b"],
    "an export to nothing known": ["--model=stranger_exported"],
    "their attention in our model": [*NEOBERT, "--model.attn_backend=stranger_loop"],
    "their weights in our model": [*NEOBERT, "--model.attn_backend=stranger_gated"],
}
Go = Callable[..., str]


@pytest.fixture
def go(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Go]:
    """``go("--loss=stranger_sum", ...)`` runs the strangers' recipe and returns what was printed."""
    info = workdir / "site" / "stranger-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.4\nName: stranger\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[neobert.plugins]\nstranger = stranger_plugin\n")
    (workdir / "recipe.toml").write_text(RECIPE)
    for path in (workdir / "site", SOURCES):
        monkeypatch.syspath_prepend(str(path))
    monkeypatch.delenv("NEOBERT_PLUGINS", raising=False)
    importlib.invalidate_caches()
    default_registry.cache_clear()

    def start(*overrides: str) -> str:
        text = io.StringIO()
        assert run(load_recipe(Path("recipe.toml"), overrides), Console(file=text, width=200)) == 0
        return text.getvalue()

    yield start
    default_registry.cache_clear()
    for name in MODULES:
        sys.modules.pop(name, None)


def _state(step: int) -> dict[str, bytes]:
    """The bytes of all that a checkpoint holds of a run's state."""
    folder = Path(f"run/checkpoints/{step}")
    return {name: (folder / name).read_bytes() for name in ("tensors.npz", "values.json", "progress.json")}


def _evaluations() -> list[float]:
    lines = [json.loads(line) for line in Path("run/lines.jsonl").read_text().splitlines()]
    return [line["eval/loss"] for line in lines if "eval/loss" in line]


@pytest.mark.parametrize("overrides", VARIANTS.values(), ids=VARIANTS)
def test_a_run_of_strangers_is_resumed_bit_for_bit_and_exported(go: Go, overrides: list[str]) -> None:
    describe(load_recipe(Path("recipe.toml"), overrides))
    said = go(*overrides)
    unbroken = _state(4)
    if "--loss=stranger_parity" in overrides:
        assert "no vocabulary head" in said
    if "--tokenizer.mask=false" in overrides:
        assert json.loads(Path("run/summary.json").read_text())["unigram_cross_entropy"] is None
    for folder in ("checkpoints", "model_checkpoints"):
        shutil.rmtree(f"run/{folder}/4")
    go(*overrides, "--trainer.resume_from_checkpoint=latest")
    assert _state(4) == unbroken
    export_checkpoint(Path("run/checkpoints/4"), Path("later"))
    for file in ("model.safetensors", "config.json"):
        assert (Path("later") / file).read_bytes() == (Path("run/model_checkpoints/4") / file).read_bytes()


def test_a_backend_moves_no_other_weights(go: Go) -> None:
    """Which attention computes is no matter for what is computed, though one's build draws and another's doesn't."""
    from stranger_plugin import GatedAttention, LoopAttention, SmallModel

    def weights(options: type) -> dict[str, list[float]]:
        backend = Part(kind="attn_backend", name="any", options=options())
        model = Part(kind="model", name="stranger", options=SmallModel(attention=(backend, backend)))
        tokenizer = testing.make_tokenizer()
        encoder = model.build(testing.make_context(tokenizer=tokenizer, vocab_size=len(tokenizer)))
        return {name: tensor.tolist() for name, tensor in encoder.state_dict().items()}

    plain, gated = weights(LoopAttention), weights(GatedAttention)
    assert set(gated) - set(plain) == {"blocks.0.attend.gate", "blocks.1.attend.gate"}
    assert {name: gated[name] for name in plain} == plain
    assert plain["blocks.0.out.weight"] != plain["blocks.1.out.weight"]


def test_attention_of_theirs_computes_what_ours_does(go: Go) -> None:
    losses = []
    for name in ("eager", "stranger_loop"):
        go(*NEOBERT, f"--model.attn_backend={name}", "--trainer.output_dir=run")
        losses.append(_evaluations())
        shutil.rmtree("run")
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def test_an_export_of_strangers_holds_their_tensors_under_their_names(go: Go) -> None:
    go("--model.attention", '["stranger_gated"]')
    with safe_open("run/model_checkpoints/4/model.safetensors", "pt") as file:
        names = set(file.keys())
    assert {"model.blocks.0.attend.gate", "model.input_embedding.weight", "decoder.weight", "decoder.bias"} <= names


def test_an_export_is_compared_under_the_reference_backend_alone(go: Go) -> None:
    recipe = load_recipe(Path("recipe.toml"), ["--model.attention", '["stranger_gated", "stranger_loop"]'])
    context = testing.make_context(tokenizer=testing.make_tokenizer(), vocab_size=100)
    reference = reference_encoder(recipe.model.build(context), recipe, context)
    assert not [name for name in reference.state_dict() if "gate" in name]


def test_each_part_sees_those_that_are_built_before_it(go: Go, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, set[str]] = {}
    names = {"dataset", "tokenizer", "vocab_size", "encoder", "parameter_groups"}
    build = Part.build

    def recorded(part: Part, context: BuildContext) -> object:
        seen.setdefault(part.kind, {name for name in names if _has(context, name)})
        return build(part, context)

    monkeypatch.setattr(Part, "build", recorded)
    go()
    text = {"dataset", "tokenizer", "vocab_size"}
    assert list(seen.items()) == [
        ("dataset", set()),
        ("tokenizer", {"dataset"}),
        ("datacollator", text),
        ("model", text),
        ("attn_backend", text),
        ("loss", {*text, "encoder"}),
        ("optimizer", names),
        ("scheduler", names),
        ("checkpointer", names),
        ("tracker", names),
    ]


def _has(context: BuildContext, name: str) -> bool:
    try:
        getattr(context, name)
    except NotBuiltError:
        return False
    return True


def test_a_check_needs_no_values(go: Go) -> None:
    recipe = load_recipe(Path("recipe.toml"), [*NEOBERT, "--model.attn_backend=stranger_loop"])
    rows = dict(describe(recipe))
    assert rows["estimated peak memory"].startswith("unknown: ")
    assert rows["parameters"][0].isdigit()


def test_installed_strangers_change_no_run(go: Go) -> None:
    from neobert.registry import load_registry

    with_them, without = (load_registry(environ) for environ in ({}, {"NEOBERT_PLUGINS": ""}))
    assert set(without.plugins) < set(with_them.plugins)
    assert not with_them.broken
    overrides = [*NEOBERT, "--tokenizer=train_wordpiece", "--dataset=stdlib", "--datacollator=mlm"]
    overrides += ["--optimizer=adamw", "--scheduler=cosine", "--checkpointer=safetensors", '--trackers=["jsonl"]']
    texts = {load_recipe(Path("recipe.toml"), overrides, registry=r).to_toml() for r in (with_them, without)}
    assert len(texts) == 1


SUITES = {
    "LoopAttention": "check_attn_backend",
    "GatedAttention": "check_attn_backend",
    "WrappingAttention": "check_attn_backend",
    "SmallModel": "check_model",
    "HalfExported": "check_model",
    "Words": "check_tokenizer",
    "Counting": "check_dataset",
    "EveryThird": "check_datacollator",
    "HeadLoss": "check_loss",
    "PlainSGD": "check_optimizer",
    "Restless": "check_optimizer",
    "Halving": "check_scheduler",
    "NumpyFiles": "check_checkpointer",
    "Lines": "check_tracker",
}


@pytest.mark.parametrize("name", SUITES)
def test_strangers_keep_the_promises(go: Go, name: str) -> None:
    import stranger_plugin

    getattr(testing, SUITES[name])(getattr(stranger_plugin, name))
