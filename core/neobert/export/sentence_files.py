"""The files by which sentence-transformers knows what comes after an encoder. Written and read without it.

They keep to names and keys that its releases since 2.3 take, the newest too.

Shapes: N sequences, T tokens in the stream, C hidden size, E embedding size.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen
from safetensors.torch import load_file, save_file

from neobert.errors import UserError
from neobert.export.prompts import Prompts
from neobert.files import write_json
from neobert.interfaces import SentenceHead
from neobert.weights.files import PROJECTION_FOLDER

if TYPE_CHECKING:
    from torch import Tensor

POOLINGS = {
    "mean": "pooling_mode_mean_tokens",
    "cls": "pooling_mode_cls_token",
    "max": "pooling_mode_max_tokens",
    "last": "pooling_mode_lasttoken",
    "weighted_mean": "pooling_mode_weightedmean_tokens",
}
"""Our name of a pooling -> the key that switches it on there."""
_THEIR_NAMES = {"lasttoken": "last", "weightedmean": "weighted_mean"}
"""Where newer releases name it otherwise."""
MODULES_FILE, PROMPTS_FILE, LENGTH_FILE = (
    "modules.json",
    "config_sentence_transformers.json",
    "sentence_bert_config.json",
)
IDENTITY = "torch.nn.modules.linear.Identity"
_LIBRARY = "sentence_transformers.models."


@frozen(eq=False)
class SentenceFolder:
    """What the files of a folder say."""

    head: SentenceHead
    prompts: Prompts
    max_seq_length: int | None
    """None where they do not say."""
    similarity: str
    """``cosine``, ``dot`` or another of that library's names."""


def write_sentence_files(directory: Path, head: SentenceHead, size: int, prompts: Prompts, max_seq_length: int) -> None:
    """Beside an encoder of hidden size ``size``: pooling, projection, normalisation, prompts and the longest text."""
    modules = [("", "Transformer"), ("1_Pooling", "Pooling")]
    pooling = {key: name == head.pooling for name, key in POOLINGS.items()}
    pooling |= {"pooling_mode_mean_sqrt_len_tokens": False, "include_prompt": True}
    _write_module(directory / "1_Pooling", {"word_embedding_dimension": size, **pooling})
    if head.projection is not None:
        modules.append((PROJECTION_FOLDER, "Dense"))
        _write_dense(directory / PROJECTION_FOLDER, *head.projection)
    if head.normalize:
        modules.append((f"{len(modules)}_Normalize", "Normalize"))
        _write_module(directory / modules[-1][0], {})
    write_json(
        directory / MODULES_FILE,
        [
            {"idx": number, "name": str(number), "path": path, "type": f"{_LIBRARY}{name}"}
            for number, (path, name) in enumerate(modules)
        ],
    )
    write_json(directory / LENGTH_FILE, {"max_seq_length": max_seq_length, "do_lower_case": False})
    write_json(
        directory / PROMPTS_FILE,
        {
            "model_type": "SentenceTransformer",
            "prompts": dict(prompts.by_name),
            "default_prompt_name": prompts.default,
            "similarity_fn_name": "cosine" if head.normalize else "dot",
        },
    )


def read_sentence_files(folder: Path) -> SentenceFolder:
    """What a folder of a sentence-transformers model says of pooling and the like.

    Raises UserError, with the reason, for one whose modules are more than `SentenceHead` has.
    """
    said = _read(folder / PROMPTS_FILE) if (folder / PROMPTS_FILE).is_file() else {}
    prompts = Prompts(dict(said.get("prompts") or {}), said.get("default_prompt_name"))
    length = _read(folder / LENGTH_FILE).get("max_seq_length") if (folder / LENGTH_FILE).is_file() else None
    pooling, projection, normalize = None, None, False
    first, *others = _read(folder / MODULES_FILE)
    _expect(first["type"].endswith(".Transformer") and not first["path"], folder, first["type"])
    for module in others:
        kind, place = module["type"].rpartition(".")[2], folder / module["path"]
        if kind == "Pooling" and pooling is None:
            pooling = _read_pooling(place, folder)
        elif kind == "Dense" and pooling and projection is None and not normalize:
            projection = _read_dense(place, folder)
        elif kind == "Normalize" and pooling and not normalize:
            normalize = True
        else:
            _expect(False, folder, module["type"])
    if pooling is None:
        _expect(False, folder, "no Pooling")
    assert pooling is not None
    head = SentenceHead(pooling=pooling, normalize=normalize, projection=projection)
    return SentenceFolder(head, prompts, length, said.get("similarity_fn_name") or "cosine")


def _write_module(directory: Path, config: dict[str, Any]) -> None:
    directory.mkdir()
    write_json(directory / "config.json", config)


def _write_dense(directory: Path, weight: Tensor, bias: Tensor | None) -> None:
    size, width = weight.shape
    config = {"in_features": width, "out_features": size, "bias": bias is not None, "activation_function": IDENTITY}
    _write_module(directory, config)
    tensors = {"linear.weight": weight} | ({} if bias is None else {"linear.bias": bias})
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    save_file(plain, directory / "model.safetensors", metadata={"format": "pt"})


def _read_pooling(place: Path, folder: Path) -> str:
    config = _read(place / "config.json")
    _expect(config.get("include_prompt", True), folder, "a Pooling that leaves prompts out")
    if "pooling_mode" in config:
        mode = config["pooling_mode"]
        found = [_THEIR_NAMES.get(name, name) for name in ([mode] if isinstance(mode, str) else mode)]
    else:
        known = POOLINGS | {"mean_sqrt_len_tokens": "pooling_mode_mean_sqrt_len_tokens"}
        found = [name for name, key in known.items() if config.get(key)] or ["mean"]
    _expect(len(found) == 1 and found[0] in POOLINGS, folder, f"Pooling by {' and '.join(found)}")
    return found[0]


def _read_dense(place: Path, folder: Path) -> tuple[Tensor, Tensor | None]:
    config = _read(place / "config.json")
    plain = config.get("activation_function") == IDENTITY and not config.get("use_residual")
    _expect(plain, folder, f"a Dense layer with {config.get('activation_function', 'an activation')}")
    _expect((place / "model.safetensors").is_file(), folder, "a Dense layer without model.safetensors")
    tensors = load_file(place / "model.safetensors")
    return tensors["linear.weight"], tensors.get("linear.bias")


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        msg = f"{file} cannot be read: {error}"
        raise UserError(msg) from error


def _expect(holds: bool, folder: Path, found: str) -> None:
    if not holds:
        msg = (
            f"{folder} has {found}, which is more than an encoder, one pooling, a linear layer and a "
            "normalisation: all that is read without sentence-transformers\nthat library opens it:\n"
            "  pip install 'neobert[sentence-transformers]'"
        )
        raise UserError(msg)
