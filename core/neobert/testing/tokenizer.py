"""What a tokenizer promises."""

from __future__ import annotations

import tempfile
from typing import Any

from neobert.testing.context import as_options, build, make_texts, temporary_context
from neobert.testing.promises import require


def check_tokenizer(options: Any) -> None:
    """Builds the tokenizer over a dataset of 200 short English documents in column ``text``.

    Raises `AssertionError` for a broken promise.
    """
    options = as_options(options)
    from datasets import Dataset

    texts = make_texts()
    with temporary_context(dataset={"train": Dataset.from_dict({"text": texts})}) as context:
        tokenizer = build("tokenizer", options, context)
        _check_tokens(tokenizer)
        _check_encoding(tokenizer, texts)
        again = build("tokenizer", options, context)
        promise = "building a tokenizer again gives the same one"
        require(_state(again) == _state(tokenizer), promise)
        _check_saves(tokenizer, texts)


def _check_tokens(tokenizer: Any) -> None:
    from transformers import PreTrainedTokenizerFast

    fast = isinstance(tokenizer, PreTrainedTokenizerFast)
    require(fast, "a tokenizer is a transformers.PreTrainedTokenizerFast", found=type(tokenizer))
    for name in ("mask_token_id", "pad_token_id"):
        require(getattr(tokenizer, name) is not None, f"a tokenizer has a {name.removesuffix('_id')}")
    ids = set(tokenizer.get_vocab().values())
    outside = {index for index in ids if not 0 <= index < len(tokenizer)}
    require(not outside, "ids are below len(tokenizer): the model has no other rows", found=outside)
    promise = "a tokenizer has tokens that are not special: random masking draws them"
    require(len(ids - set(tokenizer.all_special_ids)) > 0, promise)


def _check_encoding(tokenizer: Any, texts: list[str]) -> None:
    long = " ".join(texts)
    for text in ("", texts[0], long):
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        given = f"a text of {len(text.split())} words"
        require(all(0 <= i < len(tokenizer) for i in ids), "ids are tokens", given=given, found=ids[:20])
    count = len(tokenizer(long, add_special_tokens=False)["input_ids"])
    parts = sum(len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts)
    promise = "a tokenizer does not truncate: cutting to length is the core's"
    require(count >= 0.9 * parts, promise, given=f"{parts} tokens", found=count)
    batch = tokenizer(texts[:2], add_special_tokens=False)["input_ids"]
    alone = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts[:2]]
    require(batch == alone, "a tokenizer does not pad: texts are the same alone and in a batch")


def _check_saves(tokenizer: Any, texts: list[str]) -> None:
    from transformers import AutoTokenizer

    with tempfile.TemporaryDirectory() as directory:
        tokenizer.save_pretrained(directory)
        loaded = AutoTokenizer.from_pretrained(directory)
    for text in texts[:20]:
        expected, found = tokenizer(text)["input_ids"], loaded(text)["input_ids"]
        require(found == expected, "a saved tokenizer opens as the same one", given=text, found=found)


def _state(tokenizer: Any) -> tuple[str, dict[str, Any]]:
    return tokenizer.backend_tokenizer.to_str(), tokenizer.special_tokens_map
