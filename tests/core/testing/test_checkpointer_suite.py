"""check_checkpointer passes a plain checkpointer and notices each way of being wrong."""

from __future__ import annotations

import io
import json
import pickle
import zlib

import numpy as np
import pytest
import torch

from neobert.testing import check_checkpointer


class Plain:
    """One file of JSON and bytes: keys sorted, tensors by dtype, shape and content, with a checksum."""

    def __init__(self, context):
        pass

    def encode(self, key, tensor):
        content = bytes(tensor.detach().contiguous().reshape(-1).view(torch.uint8).tolist())
        return {"dtype": str(tensor.dtype).split(".")[1], "shape": list(tensor.shape), "hex": content.hex()}

    def decode(self, key, entry):
        content = bytearray.fromhex(entry["hex"])
        dtype = getattr(torch, entry["dtype"])
        flat = torch.frombuffer(content, dtype=dtype) if content else torch.zeros(0, dtype=dtype)
        return flat.reshape(entry["shape"])

    def save(self, directory, state):
        tensors = {k: self.encode(k, v) for k, v in state.items() if torch.is_tensor(v)}
        values = {k: v for k, v in state.items() if not torch.is_tensor(v)}
        text = json.dumps([tensors, values], sort_keys=True)
        (directory / "state").write_text(f"{zlib.crc32(text.encode())} {text}")

    def check(self, template, tensors, values):
        found = {**{k: (tuple(v.shape), v.dtype) for k, v in tensors.items()}, **dict.fromkeys(values)}
        wanted = {k: (tuple(v.shape), v.dtype) if torch.is_tensor(v) else None for k, v in template.items()}
        if found != wanted:
            raise ValueError("not the expected state")

    def load(self, directory, template):
        checksum, text = (directory / "state").read_text().split(" ", 1)
        if zlib.crc32(text.encode()) != int(checksum):
            raise ValueError("damaged")
        encoded, values = json.loads(text)
        tensors = {k: self.decode(k, v) for k, v in encoded.items()}
        self.check(template, tensors, values)
        return {k: tensors[k] if k in tensors else values[k] for k in template}


class ByPickle(Plain):
    def save(self, directory, state):
        torch.save(dict(sorted(state.items())), directory / "state.pt")

    def load(self, directory, template):
        state = torch.load(io.BytesIO((directory / "state.pt").read_bytes()), weights_only=False)
        tensors = {k: v for k, v in state.items() if torch.is_tensor(v)}
        self.check(template, tensors, {k: v for k, v in state.items() if k not in tensors})
        return state


class LosesPrecision(Plain):
    def encode(self, key, tensor):
        rounded = tensor.detach().float().double() if tensor.dtype == torch.float64 else tensor
        return super().encode(key, rounded)


class WritesATime(Plain):
    saves = 0

    def save(self, directory, state):
        super().save(directory, state)
        self.saves += 1
        (directory / "time").write_text(str(self.saves))


class TakesMissingKeys(Plain):
    def check(self, template, tensors, values):
        pass

    def load(self, directory, template):
        saved = json.loads((directory / "state").read_text().split(" ", 1)[1])
        known = {key: template[key] for part in saved for key in part if key in template}
        return {**template, **super().load(directory, known)}


class TakesExtraKeys(Plain):
    def check(self, template, tensors, values):
        known = [{k: v for k, v in part.items() if k in template} for part in (tensors, values)]
        super().check(template, *known)


class Broadcasts(Plain):
    def check(self, template, tensors, values):
        known = {k: v.expand(template[k].shape) for k, v in tensors.items() if torch.is_tensor(template.get(k))}
        super().check(template, {**tensors, **known}, values)


class Casts(Plain):
    def check(self, template, tensors, values):
        known = {k: v.to(template[k].dtype) for k, v in tensors.items() if torch.is_tensor(template.get(k))}
        super().check(template, {**tensors, **known}, values)


class FillsTheTemplate(Plain):
    def load(self, directory, template):
        loaded = super().load(directory, template)
        for key, value in loaded.items():
            if torch.is_tensor(value):
                template[key].data.copy_(value)
        return {k: template[k] if torch.is_tensor(v) else v for k, v in loaded.items()}


class FloatsForInts(Plain):
    def load(self, directory, template):
        loaded = super().load(directory, template)
        return {k: 1.0 if not torch.is_tensor(v) and v == 1 else v for k, v in loaded.items()}


class IgnoresDamage(Plain):
    def load(self, directory, template):
        try:
            return super().load(directory, template)
        except (ValueError, OSError) as error:
            if "expected state" in str(error):
                raise
            return dict(template)


class BesidePickle(Plain):
    def save(self, directory, state):
        super().save(directory, state)
        (directory / "keys").write_bytes(pickle.dumps(sorted(state)))


class Archive(Plain):
    """The same in numpy's archive, which is a zip file without a pickle, beside an empty file and bytes that begin
    as a pickle would.
    """

    def save(self, directory, state):
        super().save(directory, state)
        files = {path.name: np.frombuffer(path.read_bytes(), np.uint8) for path in directory.iterdir()}
        np.savez(directory / "all.npz", **files)
        (directory / "empty").touch()
        (directory / "raw").write_bytes(b"\x80\x90\xa0")

    def load(self, directory, template):
        if (directory / "raw").read_bytes() != b"\x80\x90\xa0" or not (directory / "empty").exists():
            raise ValueError("files are missing")
        with np.load(directory / "all.npz") as archive:
            for name in archive.files:
                archive[name]
        return super().load(directory, template)


BROKEN = {
    ByPickle: "holds no pickle",
    BesidePickle: "holds no pickle",
    LosesPrecision: "what is loaded is what was saved",
    WritesATime: "gives the same bytes",
    TakesMissingKeys: "load raises when the state",
    TakesExtraKeys: "load raises when the state",
    Broadcasts: "load raises when the state",
    Casts: "load raises when the state",
    FillsTheTemplate: "leaves the template's tensors alone",
    FloatsForInts: "what is loaded is what was saved",
    IgnoresDamage: "load raises when a file was cut short",
}


@pytest.mark.parametrize("checkpointer", [Plain, Archive])
def test_a_plain_checkpointer_passes(checkpointer, options_for):
    check_checkpointer(options_for(checkpointer))


@pytest.mark.parametrize("checkpointer", BROKEN, ids=lambda checkpointer: checkpointer.__name__)
def test_a_broken_checkpointer_is_noticed(checkpointer, options_for, notices):
    notices(check_checkpointer, options_for(checkpointer), BROKEN[checkpointer])
