"""The flags of `neobert-run` itself: what each takes, what it asks for, and what it goes with."""

from __future__ import annotations

from attrs import frozen


@frozen
class Flag:
    """A flag of the tool itself."""

    name: str
    values: tuple[str, ...]
    """What the help calls the values that follow it."""
    help: str
    command: str | None = None
    """The module of `neobert.commands` that it asks for; None for a flag that only adds to one."""
    takes_recipe: bool = False
    """Whether its command works on RECIPE and overrides."""
    optional: bool = False
    """Whether its value, a number, may be left out."""
    several: bool = False
    """Whether it takes all values up to the next flag, one at least."""
    takes_folder: bool = False
    """Whether a bare word of its command line is the folder that it writes."""


FLAGS = (
    Flag(
        "--check",
        (),
        "say what RECIPE means and costs, or everything that is wrong with it; do nothing",
        "check",
        takes_recipe=True,
    ),
    Flag(
        "--show-batch",
        ("[N]",),
        "print RECIPE's first N micro-batches (1 unless told) as people read them, masks and all",
        "show_batch",
        takes_recipe=True,
        optional=True,
    ),
    Flag("--data-report", (), "say what RECIPE's data comes to: documents, lengths, fill, epochs", "data_report", True),
    Flag(
        "--audit-data",
        ("STEPS",),
        "walk RECIPE's plan that far without training: does every document come once an epoch?",
        "audit_data",
        takes_recipe=True,
    ),
    Flag(
        "--profile",
        ("STEPS",),
        "train RECIPE for so many steps and say where their time goes; the trace: trainer.output_dir with -profile",
        "profile",
        takes_recipe=True,
    ),
    Flag(
        "--preprocess",
        (),
        "select RECIPE's rows, make its tokenizer, tokenize; print the tables to use on other machines",
        "preprocess",
        takes_recipe=True,
    ),
    Flag(
        "--evaluate",
        ("FOLDER",),
        "measure a run, a checkpoint, an export or another model's folder on --tasks",
        "evaluate",
    ),
    Flag(
        "--tasks",
        ("KIND=FILE ...",),
        "with --evaluate: retrieval=, similarity=, classification=, labelled= or pseudo_perplexity= with a file, mteb= "
        "with a task's name",
        several=True,
    ),
    Flag("--stream-tokens", ("N",), "with pseudo_perplexity=: tokens of a stream of masked copies, at most (16,384)"),
    Flag("--sample", ("N",), "with pseudo_perplexity=: score so many tokens of all, drawn by a fixed seed"),
    Flag(
        "--long-texts",
        ("HOW",),
        "with pseudo_perplexity=: score a text that is longer than the model's sequences in `windows` (unset), or "
        "`refuse` it",
    ),
    Flag(
        "--fill-mask",
        ("FOLDER", "TEXT ..."),
        "what a model guesses for each [MASK] or <mask> in texts: a run, a checkpoint, an export, or another's folder",
        "fill_mask",
        several=True,
    ),
    Flag("--top", ("N",), "with --fill-mask: so many guesses for each mask (5)"),
    Flag(
        "--output",
        ("PATH",),
        "with --preprocess: the data's folder (unset: trainer.output_dir with -data); with --evaluate, --fill-mask "
        "and --compare: a JSON file; with --report: the page (unset: report.html in the run's folder)",
    ),
    Flag(
        "--report",
        ("RUN ...",),
        "write one HTML page about a run, or several beside each other: curves, tables, data, recipe",
        "report",
        several=True,
    ),
    Flag(
        "--compare", ("RUN ...",), "print what runs came to, side by side, and how they differ", "compare", several=True
    ),
    Flag("--status", ("RUN",), "how far a run's folder is, and whether its run is alive", "status"),
    Flag(
        "--replay",
        ("FOLDER",),
        "run a step that went wrong again, from the folder that its run kept of it: where is it first not finite?",
        "replay",
    ),
    Flag(
        "--fill",
        (),
        "print RECIPE with every key that it leaves out, at its default and with its help",
        "fill",
        takes_recipe=True,
    ),
    Flag(
        "--diff", ("A", "B"), "how two recipes differ; a run's or a checkpoint's folder stands for its recipe", "diff"
    ),
    Flag("--list-recipes", (), "list the recipes that come with the tool: neobert-run NAME runs one", "list_recipes"),
    Flag("--copy-recipe", ("NAME", "FILE"), "copy such a recipe, to change it", "copy_recipe"),
    Flag(
        "--from-neobert",
        ("CONFIG", "FILE"),
        "turn a settings file (YAML) of the published NeoBERT training code into a recipe, and say what became of it",
        "from_neobert",
    ),
    Flag("--schema", (), "print a JSON schema of recipes, by which editors complete and check them", "schema"),
    Flag(
        "--list-plugins",
        (),
        "list what a recipe can name: where it comes from, whether it runs here",
        "listing",
    ),
    Flag(
        "--new-plugin",
        ("NAME",),
        "write a plugin of your own to begin with: a tested distribution of --kind, in FOLDER (unset: NAME)",
        "new_plugin",
        takes_folder=True,
    ),
    Flag("--kind", ("KIND",), "with --list-plugins: this kind only; with --new-plugin: what it is to be"),
    Flag("--all", (), "with --list-plugins: what each entry point would import, and import none of them"),
    Flag("--json", (), "with --list-plugins or --status: for programs"),
    Flag("--explain", ("KIND.NAME",), "a plugin's options, or those of the table `trainer`", "explain"),
    Flag(
        "--export",
        ("CHECKPOINT", "FOLDER"),
        "write a checkpoint as a folder that other libraries load",
        "export",
    ),
    Flag("--ema", (), "with --export: the moving average of the weights (trainer.ema) instead of the weights"),
    Flag("--format", ("FORMAT",), "with --export: safetensors, or onnx for onnx/model.onnx in the folder besides"),
    Flag("--version", (), "print the version", "version"),
    Flag("--help", (), "print this", "help"),
)
GOES_WITH = {
    "--kind": ("--list-plugins", "--new-plugin"),
    "--all": ("--list-plugins",),
    "--json": ("--list-plugins", "--status"),
    "--output": ("--preprocess", "--evaluate", "--fill-mask", "--report", "--compare"),
    "--tasks": ("--evaluate",),
    "--stream-tokens": ("--evaluate",),
    "--sample": ("--evaluate",),
    "--long-texts": ("--evaluate",),
    "--top": ("--fill-mask",),
    "--ema": ("--export",),
    "--format": ("--export",),
}
"""Flag -> those of which it needs one beside it."""
