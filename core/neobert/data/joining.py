"""Shards verified, and made one dataset."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import asdict, frozen

from neobert.data.provenance import TOKENIZATION, Tokenization, read_record
from neobert.data.shards import PART, ROWS, SHARD, Counts, differences, held, shards_folder
from neobert.data.token_rows import complete_folder
from neobert.errors import UserError
from neobert.files import MANIFEST, faults, new_directory

if TYPE_CHECKING:
    from collections.abc import Mapping

    from neobert.data.shards import Job

_NAME = re.compile(r"shard-(\d+)-of-(\d+)")


@frozen
class Joined:
    """A dataset folder that is whole."""

    folder: Path
    record: Tokenization
    counts: Counts
    before: bool = False
    """Whether it was there already."""


def join(output: Path) -> Joined:
    """Makes ``output`` from its shards, which are removed afterwards; one that is there already is verified.

    Raises UserError that names every shard that is missing, not finished, damaged, or made otherwise.
    """
    source = shards_folder(output)
    if not source.is_dir():
        if (done := joined_already(output)) is None:
            msg = f"there is nothing to join: no folder {source}"
            raise UserError(msg)
        return done
    with held(source, f"another process is joining {source}: wait for it"):
        done = joined_already(output)
        if done is None:
            job, parts, counts = _verified(source)
            _link(output, job, parts, counts)
            done = Joined(output, read_record(output / TOKENIZATION)[0], counts)
        shutil.rmtree(source)
    return done


def joined_already(output: Path, job: Job | None = None) -> Joined | None:
    """The dataset in ``output``; None where nothing is there. Raises UserError where it is another, or damaged."""
    if not output.exists():
        return None
    if not (output / MANIFEST).is_file() or not (output / TOKENIZATION).is_file():
        msg = f"--output {output} is there already, and is not what neobert-tokenize writes: name another"
        raise UserError(msg)
    record, said = read_record(output / TOKENIZATION)
    different = [] if job is None else [line for line in job.differences(said["job"]) if line[:7] != "shards "]
    if different:
        lines = "\n".join(f"  {line}" for line in different)
        msg = f"{output} is there already, made with other options:\n{lines}\nname another --output"
        raise UserError(msg)
    if found := faults(output):
        msg = f"{output} is damaged: {'; '.join(found)}\nremove it, and tokenize again"
        raise UserError(msg)
    return Joined(output, record, Counts(**said["counts"]), before=True)


def _verified(source: Path) -> tuple[dict[str, Any], list[Path], Counts]:
    """The job, every part in order and what they hold; else UserError with all that is wrong."""
    folders = {path: match for path in sorted(source.iterdir()) if (match := _NAME.fullmatch(path.name))}
    totals = sorted({int(match[2]) for match in folders.values()})
    if len(totals) != 1:
        said = f"shards of {' and of '.join(map(str, totals))}" if totals else "no shard"
        msg = f"{source} has {said}: one output is made of one number of shards\nremove those that are not wanted"
        raise UserError(msg)
    wrong: list[str] = []
    again: list[str] = []
    parts: list[Path] = []
    counts = Counts()
    job: dict[str, Any] = {}
    for shard in range(totals[0]):
        folder = source / f"shard-{shard:05d}-of-{totals[0]:05d}"
        found, its_job, its_parts, its_counts = _read_shard(folder)
        job = job or its_job
        if not found and its_job != job:
            found = _otherwise(job, its_job)
        if found:
            wrong += [f"shard {shard}/{totals[0]}: {line}" for line in found]
            again.append(f"--shard {shard}/{totals[0]}")
            continue
        parts += its_parts
        counts.add(its_counts)
    if wrong:
        lines = "\n".join(f"  {line}" for line in wrong)
        msg = f"{source} cannot be joined:\n{lines}\nrun again with {', '.join(again)}, then join"
        raise UserError(msg)
    return job, parts, counts


def _read_shard(folder: Path) -> tuple[list[str], dict[str, Any], list[Path], dict[str, int]]:
    """(what is wrong, its job, its parts, its counts)"""
    if not folder.is_dir():
        return ["missing"], {}, [], {}
    if not (folder / SHARD).is_file():
        return [f"not finished: it has {len(list(folder.glob('part-*')))} parts and no {SHARD}"], {}, [], {}
    try:
        said = json.loads((folder / SHARD).read_text(encoding="utf-8"))
        parts = [folder / f"part-{number:05d}" for number in range(said["parts"])]
        counts: dict[str, int] = said["counts"]
        job: dict[str, Any] = said["job"]
    except (ValueError, KeyError, TypeError):
        return [f"{SHARD} is damaged"], {}, [], {}
    total, wrong = Counts(), []
    for part in parts:
        found = faults(part)
        wrong += [f"{part.name}: {line}" for line in found]
        if not found:
            about = json.loads((part / PART).read_text(encoding="utf-8"))
            total.add(about["counts"])
            if about["job"] != job:
                wrong += [f"{part.name}: {line}" for line in _otherwise(job, about["job"])]
    if not wrong and asdict(total) != counts:
        wrong.append(f"its parts hold {asdict(total)}, {SHARD} says {counts}")
    return wrong, job, parts, counts


def _otherwise(job: dict[str, Any], other: dict[str, Any]) -> list[str]:
    return [f"made otherwise: {line}" for line in differences(other, job, "there", "in the first shard")]


def _link(output: Path, job: dict[str, Any], parts: list[Path], counts: Counts) -> None:
    digest = hashlib.blake2b(digest_size=8)
    with new_directory(output, output.with_name(f".{output.name}.joining")) as folder:
        names = []
        for number, part in enumerate(parts):
            names.append(f"data-{number:05d}-of-{len(parts):05d}.arrow")
            _link_or_copy(part / ROWS, folder / names[-1])
            digest.update((part / MANIFEST).read_bytes())
        complete_folder(folder, names, digest.hexdigest(), mask=job["special_tokens_mask"])
        Tokenization(**job["tokenization"]).write(folder, counts=asdict(counts), job=job)


def _link_or_copy(source: Path, target: Path) -> None:
    """A second name for the same bytes where the disk can do that: joining terabytes copies nothing."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def describe_existing(folder: Path, records: Mapping[str, Path]) -> dict[str, tuple[str, str]] | None:
    """(tokenizer's fingerprint, content's) of each record in a whole folder; None where it is not whole."""
    if faults(folder):
        return None
    found = {name: read_record(file) for name, file in records.items() if file.is_file()}
    return {name: (record.fingerprint, str(said.get("content"))) for name, (record, said) in found.items()}
