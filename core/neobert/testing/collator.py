"""What a collator promises.

Shapes: T tokens in the stream, M masked tokens.
"""

from __future__ import annotations

import pickle
import random
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from neobert.batch import Batch
from neobert.roles import roles_of
from neobert.testing.context import LENGTHS, as_options, build, make_sequences, make_tokenizer, text_context
from neobert.testing.promises import require, require_equal
from neobert.testing.roles import check_roles, role_examples

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from neobert.interfaces import Collator
    from neobert.roles import Roles

    Examples = Sequence[Mapping[str, Any]]

_SEEDS = range(8)


def check_datacollator(options: Any, *, examples: Examples | None = None) -> None:
    """Collates examples of 1 to 12 tokens, special ones among them; where the options state ``roles``, examples with
    the required roles alone, with all, and with uneven numbers of texts in roles of many.

    A collator that takes other examples than that brings ``examples`` of its own; then sequences are not compared with
    them. Raises `AssertionError` for a broken promise.
    """
    options = as_options(options)
    tokenizer = make_tokenizer()
    roles = roles_of(options)
    context = text_context(tokenizer=tokenizer, roles=roles)
    collate: Collator = build("datacollator", options, context)
    sets = [examples] if examples is not None else _examples(roles)
    for given in sets:
        _check_examples(collate, given, tokenizer, roles, own=examples is not None)
        _check_pickles(options, context, collate, given)


def _examples(roles: Roles | None) -> Sequence[Examples]:
    if roles is not None:
        return role_examples(roles)
    return [[{"input_ids": ids.numpy()} for ids in make_sequences(LENGTHS)]]


def _check_examples(collate: Collator, given: Examples, tokenizer: Any, roles: Roles | None, *, own: bool) -> None:
    """All of them together, and the first and the last alone; ``own``: of a kind that only the caller knows."""
    of_sequences = roles is None and not own
    for chosen in (given, given[:1], given[-1:]):
        batches = [_collate_purely(collate, chosen, seed) for seed in _SEEDS]
        for batch in batches:
            _check_batch(batch, len(tokenizer))
            if of_sequences:
                _check_sequences(batch, chosen)
            elif roles is not None:
                check_roles(batch, chosen, roles)
            if "masked_positions" in batch.fields:
                _check_masking(batch, chosen if of_sequences else None, tokenizer.all_special_ids)
        _check_draws(batches, tokenizer.all_special_ids)


def _collate_purely(collate: Collator, examples: Examples, seed: int) -> Batch:
    """Collates twice with the same generator; nothing else may matter, and the examples stay as they are."""
    before = pickle.dumps(list(examples))
    states = _global_generators()
    first = collate(examples, np.random.default_rng(seed))
    require(pickle.dumps(list(examples)) == before, "a collator leaves its examples as they are", given=examples)
    promise = "a collator draws from the rng that it is given, and from no generator of the process"
    require(_global_generators() == states, promise)
    second = collate(examples, np.random.default_rng(seed))
    _require_same_batch(first, second, "the same examples and rng give the same batch", f"rng seed {seed}")
    return first


def _check_batch(batch: Batch, num_tokens: int) -> None:
    ids, layout = batch.input_ids, batch.layout
    found = (type(batch).__name__, ids.dtype, ids.ndim)
    require(isinstance(batch, Batch), "a collator returns a neobert.Batch", found=found)
    require(ids.dtype == torch.int64 and ids.ndim == 1, "batch.input_ids is (T,) int64", found=found)
    require(
        layout.cu_seqlens.dtype == torch.int32 and int(layout.cu_seqlens[0]) == 0,
        "layout.cu_seqlens is (N + 1,) int32 and begins with 0",
        found=layout.cu_seqlens,
    )
    require(int(layout.cu_seqlens[-1]) == len(ids), "the layout covers the stream", found=layout.cu_seqlens)
    lengths = tuple(layout.cu_seqlens.diff().tolist())
    require(
        lengths == layout.lengths and max(lengths) == layout.max_seqlen,
        "layout.lengths and max_seqlen say what cu_seqlens says",
        given=layout.cu_seqlens,
        found=(layout.lengths, layout.max_seqlen),
    )
    require(min(lengths) >= 1, "a sequence has at least one token", found=lengths)
    require(batch.padding == 0, "a collator adds no padding: the core does", found=batch.padding)
    promise = "ids are the tokenizer's"
    require(bool(((ids >= 0) & (ids < num_tokens)).all()), promise, given=f"{num_tokens} tokens", found=ids)
    for name, value in batch.fields.items():
        require(isinstance(value, torch.Tensor), f"field {name} is a tensor", found=type(value))
        if name == "masked_positions":
            inside = value.dtype == torch.int64 and bool(((value >= 0) & (value < len(ids))).all())
            require(inside, f"field {name} holds indices into the stream, int64", found=value)


def _check_sequences(batch: Batch, examples: Examples) -> None:
    lengths = tuple(len(example["input_ids"]) for example in examples)
    promise = "each example stays one sequence, in the order given and with all its tokens"
    require(batch.layout.lengths == lengths, promise, given=lengths, found=batch.layout.lengths)


def _check_masking(batch: Batch, examples: Examples | None, special: Sequence[int]) -> None:
    positions, labels = batch.fields["masked_positions"], batch.fields.get("labels")
    require(labels is not None, "masked_positions come with labels", found=sorted(batch.fields))
    assert labels is not None
    shapes = (tuple(positions.shape), tuple(labels.shape), labels.dtype)
    same = positions.ndim == 1 and positions.shape == labels.shape and labels.dtype == torch.int64
    require(same, "masked_positions and labels are (M,) int64", found=shapes)
    require(len(set(positions.tolist())) == len(positions), "a position is masked once", found=positions)
    require(
        not set(labels.tolist()) & set(special),
        "special tokens are never selected",
        given=special,
        found=labels,
    )
    if examples is None:
        return
    original = torch.from_numpy(np.concatenate([np.asarray(e["input_ids"]) for e in examples])).long()
    require_equal(original[positions], labels, "labels are the original ids at masked_positions")
    untouched = torch.ones(len(original), dtype=torch.bool)
    untouched[positions] = False
    promise = "what is not masked stays as it was"
    require_equal(batch.input_ids[untouched], original[untouched], promise, given=positions)


def _check_draws(batches: list[Batch], special: Sequence[int]) -> None:
    """Where a choice was made, another generator makes another one."""
    first = batches[0]
    positions = first.fields.get("masked_positions")
    if positions is None:
        return
    original = first.input_ids.clone()
    original[positions] = first.fields["labels"]
    maskable = int((~torch.isin(original, torch.tensor(list(special)))).sum())
    drawn = {tuple(batch.fields["masked_positions"].tolist()) for batch in batches}
    given = f"{len(batches)} generators, {len(positions)} of {maskable} tokens masked"
    if maskable >= 20:
        require(drawn != {()}, "a collator that masks does mask something", given=given, found="nothing, every time")
    if maskable - len(positions) < 5:
        return  # nearly all are masked, so that a chance agreement proves nothing
    require(len(drawn) > 1, "another rng masks other tokens", given=given, found="the same every time")


def _check_pickles(options: Any, context: Any, collate: Collator, examples: Examples) -> None:
    """Workers build their own collator from the options that reach them."""
    try:
        copy = pickle.loads(pickle.dumps(options))  # noqa: S301
    except Exception as error:
        require(False, "a collator's options can be pickled: workers get them so", found=repr(error))
    again: Callable[..., Batch] = build("datacollator", copy, context)
    first, second = (one(examples, np.random.default_rng(3)) for one in (collate, again))
    _require_same_batch(first, second, "a collator built from pickled options gives the same batch", "rng seed 3")
    stated = getattr(options, "batch_fields", first.fields)
    promise = "a batch has no field that batch_fields leaves out"
    require(set(first.fields) <= set(stated), promise, given=sorted(stated), found=sorted(first.fields))


def _require_same_batch(first: Batch, second: Batch, promise: str, given: str) -> None:
    require_equal(second.input_ids, first.input_ids, promise, given=given)
    require(second.layout.lengths == first.layout.lengths, promise, given=given, found=second.layout.lengths)
    names = (sorted(first.fields), sorted(second.fields))
    require(names[0] == names[1], promise, given=given, found=names)
    for name, value in first.fields.items():
        require_equal(second.fields[name], value, f"{promise} (field {name})", given=given)


def _global_generators() -> tuple[bytes, str, str]:
    torch_state = torch.get_rng_state().numpy().tobytes()
    return torch_state, repr(np.random.get_state()), repr(random.getstate())
