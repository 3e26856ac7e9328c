"""``--help``."""

from __future__ import annotations

from neobert.commands.arguments import Arguments
from neobert.commands.flags import FLAGS
from neobert.recipe.overrides import TABLES

_TOP = """\
usage: neobert-run RECIPE [--TABLE.KEY VALUE ...]
       neobert-run RECIPE --check [--TABLE.KEY VALUE ...]
       neobert-run RECIPE --show-batch [N] | --data-report | --audit-data STEPS
       neobert-run RECIPE --profile STEPS
       neobert-run RECIPE --preprocess [--output FOLDER]
       neobert-run RECIPE --fill
       neobert-run --list-recipes | --copy-recipe NAME FILE | --diff A B | --schema
       neobert-run --status RUN [--json]
       neobert-run --report RUN ... [--output FILE]
       neobert-run --compare RUN RUN ... [--output FILE]
       neobert-run --replay FOLDER
       neobert-run --list-plugins [--kind KIND] [--json] | --list-plugins --all
       neobert-run --explain KIND.NAME
       neobert-run --new-plugin NAME --kind KIND [FOLDER]
       neobert-run --export CHECKPOINT FOLDER [--ema]
       neobert-run --evaluate FOLDER --tasks KIND=FILE ... [--output FILE]
       neobert-run --fill-mask FOLDER TEXT ... [--top N] [--output FILE]

Trains a text encoder as a recipe (a TOML file, or the name of one that comes with the tool) says.
"""

_OVERRIDES = """\
overrides: any key of the recipe, and any whole part
  --trainer.max_steps 2000          a key, also with =; the value is TOML, a bare word a string
  --optimizer.betas "[0.9, 0.98]"   a list
  --loss full_logits_lm             another part; with options: --loss '{name = "...", key = 1}'
  --trainer.eval_steps none         an optional key, unset
"""

_MORE = """\
exit status: 0 done; 1 (--status) neither running nor at its end, (--diff) different; 2 a mistake to mend, said in
             full; 3 the data ended before trainer.max_steps; 130 and 143 interrupted, checkpoint saved
environment: NEOBERT_PLUGINS   load the built-ins and the entry points named here (commas between), no others
             NEOBERT_CACHE     the folder of tokenized text and other things that can be made again
"""


def run(arguments: Arguments) -> int:
    print(help_text(), end="")
    return 0


def help_text() -> str:
    """All that `--help` prints."""
    return "\n".join((_TOP, _flags(), _OVERRIDES, f"tables: {', '.join(TABLES)}\n", _MORE))


def _flags() -> str:
    heads = {flag: " ".join((flag.name, *flag.values)) for flag in FLAGS}
    width = max(map(len, heads.values()))
    return "\n".join(["flags:", *(f"  {head:{width}}  {flag.help}" for flag, head in heads.items()), ""])
