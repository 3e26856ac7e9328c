"""``--fill-mask FOLDER TEXT ...``: what a folder's model guesses for the masks of texts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from neobert.commands.evaluate import whole_number
from neobert.commands.output import free

if TYPE_CHECKING:
    from neobert.commands.arguments import Arguments

TOP = 5


def run(arguments: Arguments) -> int:
    """Prints the likeliest tokens of each mask; with ``--output`` they are written as JSON too."""
    folder, *texts = arguments.given["--fill-mask"]
    top = whole_number(arguments, "--top") if "--top" in arguments.given else TOP
    output = arguments.value("--output")
    file = None if output is None else free(Path(output))

    import torch
    from rich.console import Console
    from rich.text import Text

    from neobert.evaluation.fill_mask import fill_masks
    from neobert.evaluation.masked import open_masked
    from neobert.files import write_json

    console = Console(highlight=False)
    model = open_masked(Path(folder), torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    filled = fill_masks(model, texts, top)
    console.print(Text(model.description), soft_wrap=True)
    for one in filled:
        console.print()
        console.print(Text(one.text, style="bold"), soft_wrap=True)
        for number, guesses in enumerate(one.masks, start=1):
            said = ", ".join(f"{guess.token} {guess.probability:.1%}" for guess in guesses)
            mask = f"mask {number}" if len(one.masks) > 1 else "mask"
            console.print(Text(f"  {mask}: {said}"), soft_wrap=True)
    if file is not None:
        write_json(file, {"model": model.description, "texts": [one.to_json() for one in filled]})
        console.print(Text(f"\nwritten to {file}"), soft_wrap=True)
    return 0
