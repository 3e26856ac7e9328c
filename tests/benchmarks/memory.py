"""The peak memory that ``--check`` estimates beside the measured one, for several settings of a recipe.

    python -m tests.benchmarks.memory [recipes/pretrain.toml] [--steps 4]

Each setting trains a few steps in a process of its own; the peak is that of its resident memory before it saves.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

SETTINGS = (
    (),
    ("--trainer.gradient_checkpointing=true",),
    ("--trainer.gradient_checkpointing=true", "--trainer.gradient_checkpointing_every=2"),
    ("--trainer.mixed_precision=bf16",),
    ("--datacollator.pack_sequences=false",),
    ("--optimizer=adamw",),
    ("--model.attn_backend=eager",),
    ("--trainer.per_device_train_batch_size=16",),
    ("--trainer.per_device_train_batch_size=1", "--model.hidden_size=768", "--model.num_hidden_layers=12"),
)
RUN = """
import resource, sys
from neobert import cli, libraries

def until_saved(*_):
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print("PEAK", most if sys.platform == "darwin" else most * 1024)
    sys.stdout.flush()
    import os
    os._exit(0)

def and_watch(inner=libraries.import_libraries):
    inner()
    from neobert.training.saving import Saver
    Saver.save = until_saved

libraries.import_libraries = and_watch
sys.exit(cli.main(sys.argv[1:]))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", nargs="?", default="recipes/pretrain.toml")
    parser.add_argument("--steps", type=int, default=4)
    arguments = parser.parse_args()
    print(f"torch {version('torch')}, Python {sys.version.split()[0]}, {arguments.steps} steps of {arguments.recipe}")
    print(f"{'estimated':>10} {'measured':>10} {'ratio':>6}  setting")
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("NEOBERT_CACHE", str(Path(folder, "cache")))
        for number, setting in enumerate(SETTINGS):
            steps = (f"--trainer.max_steps={arguments.steps}", "--trainer.eval_max_batches=1")
            if number == 0:
                # Preparing data takes memory too, once.
                _measured(arguments.recipe, *steps, f"--trainer.output_dir={folder}/warm")
            few = (*steps, f"--trainer.output_dir={folder}/{number}")
            estimated, measured = _estimated(arguments.recipe, *setting), _measured(arguments.recipe, *few, *setting)
            row = f"{estimated:>6.2f} GiB {measured:>6.2f} GiB {estimated / measured:>6.2f}"
            print(f"{row}  {' '.join(setting) or 'as it is'}", flush=True)


def _estimated(recipe: str, *overrides: str) -> float:
    said = _output("-m", "neobert.cli", recipe, "--check", *overrides)
    found = re.search(r"estimated peak memory +([\d.]+) GiB", said)
    assert found, said[-1000:]
    return float(found.group(1))


def _measured(recipe: str, *overrides: str) -> float:
    said = _output("-c", RUN, recipe, *overrides)
    found = re.search(r"^PEAK (\d+)$", said, re.MULTILINE)
    assert found, said[-1000:]
    return int(found.group(1)) / 2**30


def _output(*words: str) -> str:
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return done.stdout


if __name__ == "__main__":
    main()
