"""The README.md of a sentence encoder's export: what it is, how to use it, how it was made, how good it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from neobert.recipe import Recipe
from neobert.recipe.fields import default_of
from neobert.recipe.nodes import dotted
from neobert.toml_text import toml_text
from neobert.wording import figure_text

if TYPE_CHECKING:
    from neobert.export.plan import ExportPlan

_HEADER = """\
---
library_name: sentence-transformers
pipeline_tag: sentence-similarity
tags:
- sentence-transformers
- sentence-similarity
- feature-extraction
- neobert
---
"""
_NOT_A_PROPERTY = ("trainer.output_dir", "trainer.resume_from_checkpoint", "trainer.allow_changes")
_POOLED = {
    "mean": "the mean of all token vectors",
    "cls": "the first token's vector",
    "max": "the maximum of all token vectors",
    "last": "the last token's vector",
    "weighted_mean": "the mean of all token vectors, later ones weighing more",
}


def model_card(plan: ExportPlan, recipe: Recipe, size: int, evaluations: Mapping[str, Mapping[str, float]]) -> str:
    """Markdown. ``size`` is the encoder's hidden size, ``evaluations`` the run's own, by when they were made."""
    main = recipe.views[plan.objective]
    sections = [_HEADER + "# A sentence encoder", _properties(plan, main, size), *_usage(plan)]
    sections += ["## How it was made", _made(), f"```toml\n{''.join(_keys(recipe))}```"]
    sections += ["## Results", _results(main, evaluations)]
    return "\n\n".join(sections) + "\n"


def _properties(plan: ExportPlan, recipe: Recipe, size: int) -> str:
    head = plan.sentence
    assert head is not None
    dimensions = size if head.projection is None else len(head.projection[0])
    rows: list[tuple[str, ...]] = [
        ("embedding size", str(dimensions)),
        ("longest text", f"{recipe.dataset.max_seq_length} tokens, special ones included; what is longer is cut"),
        ("pooling", _POOLED[head.pooling]),
        ("compared by", "cosine similarity; embeddings have length 1" if head.normalize else "dot product"),
        *((f"prompt `{name}`", f"`{_cell(text)}`") for name, text in plan.prompts.by_name.items() if text),
    ]
    return _table(("", ""), rows)


def _usage(plan: ExportPlan) -> list[str]:
    if not plan.native:
        return [
            "No native architecture of transformers expresses this model, so sentence-transformers cannot open it.\n"
            "`neobert-run --evaluate FOLDER` does, and a recipe goes on from it with `model.weights`."
        ]
    calls = 'queries = model.encode_query(["what is asked"])\ndocuments = model.encode_document(["what may answer it"])'
    if not {"query", "document"} & plan.prompts.by_name.keys():
        calls = 'queries = model.encode(["a text"])\ndocuments = model.encode(["another one"])'
    return [
        "## Use",
        "```python\nfrom sentence_transformers import SentenceTransformer\n\n"
        f'model = SentenceTransformer("PATH OF THIS FOLDER")\n{calls}\n'
        "print(model.similarity(queries, documents))\n```",
    ]


def _made() -> str:
    try:
        made_by = f"neobert {version('neobert')}"
    except PackageNotFoundError:
        made_by = "neobert"
    return f"Trained with {made_by} as this recipe says; `recipe.toml` beside this file has the defaults too."


def _keys(recipe: Recipe) -> Iterator[str]:
    """A line for each part's name, and each key that is not at its default."""
    for leaf in recipe.leaves():
        key, attribute = dotted(leaf.path), leaf.attribute
        if key in _NOT_A_PROPERTY or leaf.value is None:
            continue
        if attribute is None or leaf.value != default_of(attribute):
            yield f"{key} = {toml_text(leaf.toml())}\n"


def _results(recipe: Recipe, evaluations: Mapping[str, Mapping[str, float]]) -> str:
    """A row for each metric, a column for each time it was measured."""
    when = [name for name in ("before", "best", "after") if name in evaluations]
    if not when:
        return "The run had no held-out data: nothing was evaluated."
    metrics = list(dict.fromkeys(name for column in when for name in evaluations[column]))
    rows = [(name, *(_figure(name, evaluations[column].get(name)) for column in when)) for name in metrics]
    said = f"On the held-out split of the dataset `{_cell(recipe.dataset.name)}`, before and after training:"
    return f"{said}\n\n{_table(('metric', *when), rows)}"


def _figure(name: str, value: float | None) -> str:
    return "-" if value is None else figure_text(name, value)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    """User text on one line of a table."""
    return " ".join(text.replace("|", "\\|").replace("`", "'").split("\n"))
