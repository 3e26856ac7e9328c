"""``--show-batch [N]``: the first micro-batches as people read them."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from neobert.commands.data_part import data_part
from neobert.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from neobert.commands.arguments import Arguments
    from neobert.data import MicroBatch, TrainingData
    from neobert.data.show import Shown

COLOURS = {
    "source": "bold blue",
    "role": "bold magenta",
    "text": "",
    "special": "dim cyan",
    "masked": "bold red",
    "replaced": "bold yellow",
    "kept": "green",
    "padding": "dim",
}


def run(arguments: Arguments) -> int:
    """Prints what the model is given, and what it is asked for, beginning with step 0."""
    from rich.console import Console

    from neobert.data.show import show

    count = _count(arguments.value("--show-batch"))
    console = Console(highlight=False)
    with data_part(arguments) as (_, data):
        for name, own in data.each.items():
            training = own.own_data
            for step, number, micro in islice(_micro_batches(training), count):
                title = f"{f'objective {name}, ' if name else ''}step {step}, micro-batch {number}"
                if (limit := training.options.limit(step)) is not None:
                    title += f" (length warm-up: sequences of over {limit:,} tokens in pieces)"
                sources = () if micro.pieces is None else training.corpus.source_names(micro.pieces)
                _print(console, title, show(micro.batch, data.tokenizer, sources))
    return 0


def _count(value: str | None) -> int:
    if value is None:
        return 1
    if not value.isdecimal() or int(value) < 1:
        msg = f"--show-batch {value}: expected how many micro-batches, 1 or more"
        raise UserError(msg)
    return int(value)


def _micro_batches(data: TrainingData) -> Iterator[tuple[int, int, MicroBatch]]:
    """Made in the loop: starting workers takes longer, and they make the same."""
    from attrs import evolve

    here = evolve(data.dataset_keys, num_workers=0)
    data = evolve(data, dataset_keys=here, options=evolve(data.options, pin_memory=False))
    for step in data.steps(data.start(), 0):
        for number, micro in enumerate(step.micro_batches):
            yield step.step, number, micro


def _print(console: Console, title: str, shown: Shown) -> None:
    """Data is never read as markup; on a terminal styles are colours, elsewhere the marks alone tell."""
    from rich.text import Text

    console.print(Text(title, style="bold"), soft_wrap=True)
    for fact in shown.summary:
        console.print(Text(f"  {fact}"), soft_wrap=True)
    for number, spans in enumerate(shown.sequences, start=1):
        line = Text().append(f"{number:>4} | ", style="bold")
        line.append(Text(" ").join(Text(span.text, style=COLOURS[span.style]) for span in spans))
        console.print(line, soft_wrap=True)
