"""Coverage-guided fuzzing of what reads files and flags: is a clear error all that a spoilt one can cause?

    pip install atheris
    python -m tests.benchmarks.fuzz [TARGET ...] [--seconds 60]

Each target is a process of its own under libFuzzer (through atheris), which changes whole inputs a little and keeps
what reaches new branches of `neobert` and `neobert_plugins`. Prints the inputs tried and the branches reached; an
exception that is no `UserError` is printed with the file of its input, and the exit status is 1. tests/test_fuzz.py
tries the same with hypothesis in the test suite.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

Reader = Callable[[bytes], None]
Target = Callable[[Path], tuple[Reader, Iterable[bytes]]]
"""Given a folder to work in: what reads one input, and whole inputs to begin with. Imports are instrumented."""


def recipes(folder: Path) -> tuple[Reader, Iterable[bytes]]:
    from tests.conftest import RECIPE

    from neobert.recipe import load_recipe

    def read(data: bytes) -> None:
        (folder / "recipe.toml").write_bytes(data)
        load_recipe(folder / "recipe.toml", [])

    shipped = Path(__file__).parents[2] / "recipes"
    return read, [RECIPE.encode(), *(path.read_bytes() for path in sorted(shipped.rglob("*.toml")))]


def overrides(folder: Path) -> tuple[Reader, Iterable[bytes]]:
    from tests.conftest import RECIPE

    from neobert.recipe import load_recipe

    (folder / "recipe.toml").write_text(RECIPE)

    def read(data: bytes) -> None:
        load_recipe(folder / "recipe.toml", data.decode("utf-8", "surrogateescape").split("\n"))

    return read, [
        b"--trainer.max_steps\n3",
        b"--optimizer.betas=[0.9, 0.98]",
        b'--model.attn_backend\n{name = "sdpa"}\n--loss\nfull_logits_lm',
        b"--trackers=['jsonl']\n--model.weights=none",
    ]


def manifests(folder: Path) -> tuple[Reader, Iterable[bytes]]:
    from neobert.files import MANIFEST, faults

    (folder / "a.bin").write_bytes(b"x")

    def read(data: bytes) -> None:
        (folder / MANIFEST).write_bytes(data)
        if not all(isinstance(line, str) for line in faults(folder)):
            raise TypeError("a fault that is no line")

    return read, [json.dumps({"a.bin": {"size": 1, "sha256": "00"}, "b/c.json": {"size": 2, "sha256": "ff"}}).encode()]


def progress(folder: Path) -> tuple[Reader, Iterable[bytes]]:
    from tests.test_fuzz import PROGRESS

    from neobert.training.checkpoints import PROGRESS_FILE, read_progress

    def read(data: bytes) -> None:
        (folder / PROGRESS_FILE).write_bytes(data)
        read_progress(folder)

    return read, [json.dumps(PROGRESS).encode()]


def weights(folder: Path) -> tuple[Reader, Iterable[bytes]]:
    import torch
    from safetensors.torch import save

    from neobert.weights.files import find_weights, read_weights

    def read(data: bytes) -> None:
        (folder / "model.safetensors").write_bytes(data)
        read_weights(find_weights(folder / "model.safetensors"))

    return read, [save({"a": torch.arange(4.0), "b.c": torch.zeros(2, 2, dtype=torch.int64)})]


def indexes(folder: Path) -> tuple[Reader, Iterable[bytes]]:
    from neobert.weights.files import find_weights, read_shapes

    def read(data: bytes) -> None:
        (folder / "model.safetensors.index.json").write_bytes(data)
        read_shapes(find_weights(folder))

    return read, [json.dumps({"metadata": {}, "weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}).encode()]


def json_lines(folder: Path) -> tuple[Reader, Iterable[bytes]]:
    from neobert_plugins.datasets.rows import rows_of

    file = folder / "corpus.jsonl"

    def read(data: bytes) -> None:
        file.write_bytes(data)
        for row in rows_of(str(file), "json") or ():
            if (row.value is None) != (row.fault is not None):
                raise ValueError(f"neither read nor a fault: {row}")

    return read, [b'{"text": "one"}\n{"text": "two", "n": 3}\n', '{"text": "\\u00e9 \u00e9"}\n\n'.encode()]


def tokenizers(folder: Path) -> tuple[Reader, Iterable[bytes]]:
    from tokenizers import Tokenizer, models

    from neobert_plugins.tokenizers.options import Pretrained
    from neobert_plugins.tokenizers.pretrained import _read

    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')

    def read(data: bytes) -> None:
        (folder / "tokenizer.json").write_bytes(data)
        _read(Pretrained(path=str(folder)), "tokenizer.path")

    return read, [Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1}, unk_token="[UNK]")).to_str().encode()]


TARGETS: dict[str, Target] = {
    function.__name__: function
    for function in (recipes, overrides, manifests, progress, weights, indexes, json_lines, tokenizers)
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", default=list(TARGETS), metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=int, default=60, help="of each target")
    parser.add_argument("--inside", help=argparse.SUPPRESS)  # the child's own folder
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.targets if name not in TARGETS]:
        parser.error(f"no target {', '.join(unknown)}; there are {', '.join(TARGETS)}")
    if arguments.inside:
        fuzz(arguments.targets[0], Path(arguments.inside), arguments.seconds)
    failed = [name for name in arguments.targets if not tried(name, arguments.seconds)]
    return 1 if failed else 0


def tried(name: str, seconds: int) -> bool:
    """Runs one target in a process of its own and prints what came of it; whether nothing but clear errors did."""
    folder = tempfile.mkdtemp(prefix=f"fuzz-{name}-")
    command = [sys.executable, "-m", "tests.benchmarks.fuzz", name, "--seconds", str(seconds), "--inside", folder]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    covered = re.findall(r"cov: (\d+)", done.stderr)
    inputs = re.findall(r"^#(\d+)\s", done.stderr, re.MULTILINE)
    reached = f"{int(inputs[-1]):,} inputs, {covered[-1]} branches" if inputs and covered else "did not start"
    print(f"{name:<12} {reached}, {'clear errors only' if done.returncode == 0 else 'FAILED'}", flush=True)
    if done.returncode:
        print("\n".join(done.stderr.splitlines()[-40:]), f"\n  inputs are in {folder}", flush=True)
    return done.returncode == 0


def fuzz(name: str, folder: Path, seconds: int) -> None:
    """Never returns: libFuzzer ends the process."""
    import atheris

    work, corpus = folder / "work", folder / "corpus"
    work.mkdir()
    corpus.mkdir()
    with atheris.instrument_imports(include=["neobert", "neobert_plugins", "tomli"]):
        from neobert.errors import UserError

        read, seeds = TARGETS[name](work)
    for number, seed in enumerate(seeds):
        (corpus / str(number)).write_bytes(seed)

    def one(data: bytes) -> None:
        with contextlib.suppress(UserError):
            read(data)

    options: list[Any] = [f"-max_total_time={seconds}", "-max_len=20000", f"-artifact_prefix={folder}/", "-timeout=60"]
    atheris.Setup([sys.argv[0], *options, str(corpus)], one)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
