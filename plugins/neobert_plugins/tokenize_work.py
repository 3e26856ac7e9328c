"""What ``neobert-tokenize`` does once its command line is read."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen

from neobert.data.columns import prepare_columns
from neobert.data.joining import Joined, join, joined_already
from neobert.data.provenance import Tokenization
from neobert.data.sequences import SpecialTokens
from neobert.data.shards import Job, stretch, write_shard
from neobert.data.splits import pick_split
from neobert.errors import UserError
from neobert.recipe.tokenized import tokenized_tables
from neobert.wording import counted
from neobert_plugins.datasets import disk, files, hub
from neobert_plugins.datasets.options import Disk, Files, Hub
from neobert_plugins.tokenizers.options import Pretrained
from neobert_plugins.tokenizers.pretrained import load

if TYPE_CHECKING:
    import argparse


@frozen
class Source:
    """The rows of one shard, and what they are a share of."""

    rows: Any
    corpus: str
    label: str


def run_tokenize(arguments: argparse.Namespace) -> int:
    """Writes one shard; a whole corpus is joined at once."""
    tokenizer = load(Pretrained(path=arguments.tokenizer, allow_special_token_rewrite=True), said="--tokenizer")
    shard, shards = arguments.shard or (0, 1)
    source = _open(arguments, shard, shards)
    job = Job(
        dataset=" ".join(arguments.dataset),
        corpus=source.corpus,
        tokenization=_tokenization(arguments, tokenizer),
        overflow=arguments.overflow,
        special_tokens_mask=arguments.return_special_tokens_mask,
        rows_per_part=arguments.rows_per_part,
        shards=shards,
    )
    done = joined_already(arguments.output, job)
    if done is None:
        num_proc = arguments.num_proc
        write_shard(
            arguments.output, shard, job, source.rows, tokenizer, num_proc=num_proc, label=source.label, say=_say
        )
        if arguments.shard is not None:
            print(f"shard {shard}/{shards} is whole; once all are: neobert-tokenize --join --output {arguments.output}")
            return 0
        done = join(arguments.output)
    return _show(done)


def run_join(arguments: argparse.Namespace) -> int:
    """Verifies all shards and makes one dataset of them."""
    return _show(join(arguments.output))


def _tokenization(arguments: argparse.Namespace, tokenizer: Any) -> Tokenization:
    around = not arguments.no_special_tokens
    count = SpecialTokens.of(tokenizer).count if around else 0
    if arguments.max_length is not None and arguments.max_length <= count:
        msg = f"--max-length = {arguments.max_length} leaves no room beside {count} special tokens a row"
        raise UserError(msg)
    return Tokenization.of(tokenizer, special_tokens=around, max_length=arguments.max_length)


def _open(arguments: argparse.Namespace, shard: int, shards: int) -> Source:
    """A shard's rows: whole files of a corpus of enough files, so that no machine reads all; else rows of all."""
    names = None if arguments.dataset_config is not None else _files(arguments.dataset)
    whole_files = (
        names is not None and len(names) >= shards > 1 and (arguments.max_samples, arguments.split) == (None, "train")
    )
    if names is not None and whole_files:
        first, stop = stretch(len(names), shard, shards)
        built = files.load({"train": names[first:stop]}, Files(path=""))
        corpus = f"{len(names)} files, {_digest(names)}"
    elif names is not None:
        built = files.load({"train": names}, Files(path=""))
        corpus = f" of {len(names)} files, {_digest(names)}"
    else:
        built, corpus = _saved_or_hub(arguments), ""
    rows = pick_split(built, arguments.split, "--split")
    label = f"split {arguments.split!r}"
    rows = prepare_columns(rows, arguments.text_column, label=label, said="--text-column")
    if "input_ids" in rows.column_names:
        msg = f"--dataset {' '.join(arguments.dataset)}: {label} holds input_ids, it is tokenized already"
        raise UserError(msg)
    if whole_files:
        return Source(rows, corpus, f"{label} of shard {shard}/{shards}")
    return _stretch_of(rows, arguments.max_samples, shard, shards, label, corpus)


def _stretch_of(rows: Any, max_samples: int | None, shard: int, shards: int, label: str, corpus: str) -> Source:
    total = min(len(rows), max_samples or len(rows))
    first, stop = stretch(total, shard, shards)
    where = label if shards == 1 else f"rows {first} to {stop - 1} of {label}"
    return Source(rows.select(range(first, stop)), f"{total} rows{corpus}", where)


def _files(said: list[str]) -> list[str] | None:
    """The files that --dataset names; None where it names a saved dataset or one of the hub."""
    path = Path(said[0]).expanduser()
    if len(said) == 1 and (_is_saved(path) or _is_hub_name(said[0])):
        return None
    return [name for pattern in said for name in files.find(pattern, "--dataset")]


def _is_saved(path: Path) -> bool:
    """Whether ``save_to_disk`` wrote a folder."""
    return any((path / name).is_file() for name in ("dataset_info.json", "dataset_dict.json", "state.json"))


def _is_hub_name(text: str) -> bool:
    """``name`` or ``owner/name`` that nothing here is called."""
    is_path = Path(text).expanduser().exists() or any(sign in text for sign in "*?[~\\") or text.startswith((".", "/"))
    return not is_path and text.count("/") <= 1 and not files.has_known_suffix(text)


def _saved_or_hub(arguments: argparse.Namespace) -> dict[str, Any]:
    said, config = " ".join(arguments.dataset), arguments.dataset_config
    if config is None and Path(said).expanduser().is_dir():
        return disk.read(Disk(path=said), said="--dataset")
    if (config is not None and _is_saved(Path(said).expanduser())) or not (Path(said).is_dir() or _is_hub_name(said)):
        msg = f"--dataset-config = {config!r} is of datasets that have configurations: --dataset {said} has none"
        raise UserError(msg)
    return hub.read(Hub(path=said, config=config), said="--dataset")


def _digest(names: list[str]) -> str:
    """Of names and sizes, as they stand on every machine that sees the same disk."""
    about = "\n".join(f"{Path(name).name} {Path(name).stat().st_size}" for name in names)
    return hashlib.blake2b(about.encode(), digest_size=8).hexdigest()


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _show(done: Joined) -> int:
    counts, record = done.counts, done.record
    what = "is there already" if done.before else "is made"
    tokens = counted(counts.tokens, "token")
    print(f"# {done.folder} {what}: {counted(counts.documents, 'document')}, {counted(counts.rows, 'row')}, {tokens}")
    print(f"# {counted(counts.empty, 'empty document')}; over --max-length: {counted(counts.cut, 'document')}")
    dataset = {"path": str(done.folder.absolute()), "max_seq_length": record.max_length}
    print(tokenized_tables({"": dataset}, {"path": record.tokenizer}), end="")
    return 0
