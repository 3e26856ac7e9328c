"""The mechanism, on an encoder and losses that know nothing of layouts."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from neobert import UserError
from neobert.files import write_manifest
from neobert.interfaces import SentenceHead
from neobert.weights import check_weights, find_weights, load_weights
from neobert.weights.files import read_shapes


class Encoder(nn.Module):
    def __init__(self, rows=6):
        super().__init__()
        self.input_embedding = nn.Embedding(rows, 3)
        self.layer = nn.Linear(3, 3)
        self.vocab_size = rows


class TiedLoss(nn.Module):
    def __init__(self, encoder):
        super().__init__()
        self.encoder = (encoder,)

    def head_state(self):
        return {"weight": self.encoder[0].input_embedding.weight}


class OwnHeadLoss(nn.Module):
    def __init__(self, encoder):
        super().__init__()
        self.decoder = nn.Linear(3, encoder.vocab_size)

    def head_state(self):
        return {"weight": self.decoder.weight, "bias": self.decoder.bias}


class HeadlessLoss(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))


class ReadingEncoder(Encoder):
    """Reads one foreign layout: its own names, and a head under ``head.``."""

    def import_weights(self, tensors, config):
        head = {name.removeprefix("head."): tensor for name, tensor in tensors.items() if name.startswith("head.")}
        rest = {name: tensor for name, tensor in tensors.items() if not name.startswith("head.")}
        return rest, head, ["a foreign layout"]


def filled(encoder, value=2.0):
    return {name: torch.full_like(tensor, value) for name, tensor in encoder.state_dict().items()}


def refusal(path, encoder, loss, **options):
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    with pytest.raises(UserError) as error:
        load_weights(path, encoder, loss, **options)
    after = encoder.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    return str(error.value)


@pytest.fixture
def encoder():
    return Encoder()


@pytest.fixture
def file(tmp_path, encoder):
    """Writes tensors to one file; by default those of the encoder, all twos."""

    def write(tensors=None, path=tmp_path / "some.safetensors"):
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(filled(encoder) if tensors is None else tensors, path)
        return path

    return write


def all_twos(encoder):
    return all(bool((tensor == 2).all()) for tensor in encoder.state_dict().values())


def test_a_file_fills_the_encoder(encoder, file):
    line = load_weights(file(), encoder, TiedLoss(encoder))
    assert all_twos(encoder)
    assert line == f"3 tensors from {file()}"


def test_every_fault_comes_in_one_answer(encoder, file):
    tensors = filled(encoder)
    del tensors["layer.bias"]
    tensors["layer.weight"] = torch.zeros(3, 4)
    tensors["other"] = torch.zeros(2)
    text = refusal(file(tensors), encoder, TiedLoss(encoder))
    assert "left over in the file: other" in text
    assert "missing in the file: layer.bias" in text
    assert "layer.weight is [3, 4] in the file, [3, 3] in the model" in text


def test_integers_are_no_weights(encoder, file):
    tensors = filled(encoder) | {"layer.weight": torch.ones(3, 3, dtype=torch.int8)}
    assert "layer.weight is torch.int8 in the file" in refusal(file(tensors), encoder, TiedLoss(encoder))


def test_lower_precision_is_widened(encoder, file):
    load_weights(file({name: t.bfloat16() for name, t in filled(encoder).items()}), encoder, TiedLoss(encoder))
    assert all_twos(encoder)
    assert encoder.layer.weight.dtype == torch.float32


def test_wrappers_in_names_are_left_out_and_said(encoder, file):
    tensors = {f"module._orig_mod.{name}": tensor for name, tensor in filled(encoder).items()}
    line = load_weights(file(tensors), encoder, TiedLoss(encoder))
    assert all_twos(encoder)
    assert "3 names held _orig_mod. or module., which is left out" in line


def test_one_tensor_under_two_names_is_refused(encoder, file):
    tensors = filled(encoder) | {"_orig_mod.layer.bias": torch.zeros(3)}
    assert "are both layer.bias" in refusal(file(tensors), encoder, TiedLoss(encoder))


def test_rows_beyond_the_tokenizer_may_lack(file):
    encoder = Encoder(rows=8)
    tensors = filled(encoder) | {"input_embedding.weight": torch.full((6, 3), 2.0)}
    kept = encoder.input_embedding.weight[6:].clone()
    line = load_weights(file(tensors), encoder, TiedLoss(encoder), num_tokens=6)
    assert (encoder.input_embedding.weight[:6] == 2).all()
    assert torch.equal(encoder.input_embedding.weight[6:], kept)
    assert "input_embedding.weight has 6 of 8 rows there" in line


@pytest.mark.parametrize("num_tokens", [None, 7])
def test_rows_of_tokens_may_not_lack(file, num_tokens):
    encoder = Encoder(rows=8)
    tensors = filled(encoder) | {"input_embedding.weight": torch.full((6, 3), 2.0)}
    text = refusal(file(tensors), encoder, TiedLoss(encoder), num_tokens=num_tokens)
    assert "input_embedding.weight has 6 rows in the file, 8 in the model" in text


def test_rows_too_many_are_refused(encoder, file):
    tensors = filled(encoder) | {"input_embedding.weight": torch.zeros(9, 3)}
    assert "9 rows in the file, 6 in the model" in refusal(file(tensors), encoder, TiedLoss(encoder), num_tokens=5)


def test_shards_are_read_by_their_index(encoder, file, tmp_path):
    tensors = filled(encoder)
    names = {name: f"model-{index}.safetensors" for index, name in enumerate(tensors)}
    for name, shard in names.items():
        file({name: tensors[name]}, tmp_path / "sharded" / shard)
    index = tmp_path / "sharded" / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": names}))
    load_weights(tmp_path / "sharded", encoder, TiedLoss(encoder))
    assert all_twos(encoder)
    (tmp_path / "sharded" / "model-1.safetensors").unlink()
    assert "files that are not there: model-1.safetensors" in refusal(tmp_path / "sharded", encoder, TiedLoss(encoder))


def checkpoint(file, folder, encoder, loss, value):
    tensors = {f"encoder.{name}": tensor for name, tensor in filled(encoder, value).items()}
    tensors |= {f"loss.{name}": tensor for name, tensor in filled(loss, value).items()}
    tensors["optimizer.layer.weight.exp_avg"] = torch.zeros(3, 3)
    file(tensors, folder / "state.safetensors")
    write_manifest(folder)


def test_the_newest_complete_checkpoint_of_a_run_is_taken(encoder, file, tmp_path):
    loss = OwnHeadLoss(encoder)
    for step, value in ((9, 1.0), (10, 2.0), (11, 3.0), (12, 4.0)):
        checkpoint(file, tmp_path / "run" / "checkpoints" / str(step), encoder, loss, value)
    (tmp_path / "run" / "checkpoints" / "12" / "manifest.json").unlink()
    (tmp_path / "run" / "checkpoints" / "11" / "state.safetensors").write_bytes(b"cut")
    line = load_weights(tmp_path / "run", encoder, loss)
    assert all_twos(encoder)
    assert all_twos(loss)
    assert line.endswith("checkpoints/10")


def test_a_run_without_a_complete_checkpoint_is_refused(encoder, file, tmp_path):
    checkpoint(file, tmp_path / "checkpoints" / "3", encoder, TiedLoss(encoder), 1.0)
    (tmp_path / "checkpoints" / "3" / "manifest.json").unlink()
    assert "without a complete checkpoint (1 incomplete" in refusal(tmp_path, encoder, TiedLoss(encoder))


def test_a_damaged_checkpoint_is_refused(encoder, file, tmp_path):
    checkpoint(file, tmp_path / "7", encoder, TiedLoss(encoder), 1.0)
    (tmp_path / "7" / "state.safetensors").write_bytes(b"cut")
    assert "is damaged: state.safetensors has 3 bytes" in refusal(tmp_path / "7", encoder, TiedLoss(encoder))


def test_a_checkpoints_head_is_left_out_only_by_a_loss_without_one(encoder, file, tmp_path):
    checkpoint(file, tmp_path / "7", encoder, OwnHeadLoss(encoder), 2.0)
    assert "left over in the file: decoder.bias" in refusal(tmp_path / "7", encoder, TiedLoss(encoder))
    line = load_weights(tmp_path / "7", encoder, HeadlessLoss())
    assert all_twos(encoder)
    assert "without the head (decoder.bias, decoder.weight)" in line
    assert "scale starts afresh" in line


def test_a_checkpoint_without_the_head_that_is_wanted_is_refused(encoder, file, tmp_path):
    checkpoint(file, tmp_path / "7", encoder, TiedLoss(encoder), 2.0)
    assert "missing in the file: decoder.weight" in refusal(tmp_path / "7", encoder, OwnHeadLoss(encoder))


def foreign(encoder, **head):
    return filled(encoder) | {f"head.{name}": tensor for name, tensor in head.items()}


def test_a_foreign_head_fills_the_loss(file):
    encoder = ReadingEncoder()
    loss = OwnHeadLoss(encoder)
    line = load_weights(
        file(foreign(encoder, weight=torch.full((6, 3), 2.0), bias=torch.full((6,), 2.0))), encoder, loss
    )
    assert all_twos(loss)
    assert line.startswith("5 tensors")
    assert line.endswith("; a foreign layout")


@pytest.mark.parametrize(
    ("head", "text"),
    [
        ({"weight": torch.zeros(6, 3)}, "missing in the file: head bias"),
        ({}, "missing in the file: head weight"),
        ({"weight": torch.zeros(6, 4), "bias": torch.zeros(6)}, "head weight is [6, 4] in the file"),
    ],
)
def test_a_foreign_head_that_does_not_fit_is_refused(file, head, text):
    encoder = ReadingEncoder()
    assert text in refusal(file(foreign(encoder, **head)), encoder, OwnHeadLoss(encoder))


def test_a_tied_head_takes_the_embedding_and_nothing_else(file):
    encoder = ReadingEncoder()
    load_weights(file(foreign(encoder, weight=torch.full((6, 3), 2.0))), encoder, TiedLoss(encoder))
    assert "a matrix of its own there" in refusal(
        file(foreign(encoder, weight=torch.zeros(6, 3))), encoder, TiedLoss(encoder)
    )
    assert "left over in the file: head bias" in refusal(
        file(foreign(encoder, bias=torch.zeros(6))), encoder, TiedLoss(encoder)
    )


def test_a_loss_without_a_head_leaves_a_foreign_one_out(file):
    encoder = ReadingEncoder()
    line = load_weights(file(foreign(encoder, weight=torch.zeros(6, 3))), encoder, HeadlessLoss())
    assert "without the head (weight), for which this loss has no place" in line


@pytest.mark.parametrize("name", ["pytorch_model.bin", "state_dict.pt"])
def test_pickles_are_refused_with_the_way_to_convert(encoder, tmp_path, name):
    (tmp_path / name).write_bytes(b"\x80\x04")
    for path in (tmp_path, tmp_path / name):
        text = refusal(path, encoder, TiedLoss(encoder))
        assert "is a pickle" in text
        assert "weights_only=True" in text


def test_what_is_no_weights_is_named(encoder, tmp_path):
    loss = TiedLoss(encoder)
    assert "no such file or folder" in refusal(tmp_path / "nowhere", encoder, loss)
    assert "there are no weights in" in refusal(tmp_path, encoder, loss)
    (tmp_path / "model.safetensors").write_bytes(b"half a file")
    assert "cannot be read as safetensors" in refusal(tmp_path, encoder, loss)
    (tmp_path / "notes.txt").write_text("")
    assert "is not a .safetensors file" in refusal(tmp_path / "notes.txt", encoder, loss)


def test_the_conversion_that_is_advised_works(encoder, tmp_path):
    import subprocess
    import sys

    torch.save(filled(encoder), tmp_path / "model.bin")
    text = refusal(tmp_path / "model.bin", encoder, TiedLoss(encoder))
    command = text.split('python -c "')[1].rsplit('"', 1)[0]
    subprocess.run([sys.executable, "-c", command], check=True, timeout=60)
    load_weights(tmp_path / "model.safetensors", encoder, TiedLoss(encoder))
    assert all_twos(encoder)


def exported(encoder, loss):
    """As our own export writes an encoder that maps to no other library."""
    body = {f"model.{name}": tensor for name, tensor in filled(encoder).items()}
    return body | {f"decoder.{name}": torch.full_like(t, 2.0) for name, t in loss.head_state().items()}


@pytest.mark.parametrize("head", [TiedLoss, OwnHeadLoss])
def test_an_encoder_that_reads_no_layout_reads_its_own_export(encoder, file, head):
    loss = head(encoder)
    load_weights(file(exported(encoder, loss)), encoder, loss)
    assert all_twos(encoder)
    assert all_twos(loss)
    tensors = exported(encoder, loss) | {"other": torch.zeros(2)}
    assert "left over in the file: other" in refusal(file(tensors), encoder, loss)


def without_values(path, loss_class, rows=6, num_tokens=None):
    """What is told of the weights with modules on the meta device; empty where they fit."""
    with torch.device("meta"):
        encoder = Encoder(rows)
        loss = loss_class(encoder)
    try:
        check_weights(find_weights(path), encoder, loss, num_tokens=num_tokens)
    except UserError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("loss_class", [TiedLoss, OwnHeadLoss])
def test_shapes_alone_tell_what_does_not_fit(encoder, file, loss_class):
    tensors = exported(encoder, loss_class(encoder))
    assert without_values(file(tensors), loss_class) == ""
    other = OwnHeadLoss if loss_class is TiedLoss else TiedLoss
    assert "head bias" in without_values(file(tensors), other)
    wrong = tensors | {"model.layer.weight": torch.zeros(3, 4), "model.layer.bias": torch.zeros(3, dtype=torch.int32)}
    said = without_values(file(wrong), loss_class)
    assert "layer.weight is [3, 4] in the file, [3, 3] in the model" in said
    assert "layer.bias is torch.int64 in the file; weights are floating-point numbers" in said
    wide = without_values(file(tensors | {"decoder.weight": torch.zeros(6, 4)}), loss_class)
    assert wide == "" if loss_class is TiedLoss else "head weight is [6, 4] in the file, [6, 3] in the model" in wide


def test_the_vocabulary_is_no_matter_before_there_is_a_tokenizer(encoder, file):
    path = file(exported(encoder, OwnHeadLoss(encoder)))
    assert without_values(path, OwnHeadLoss, rows=8191) == ""
    assert "input_embedding.weight has 6 rows in the file, 8 in the model" in without_values(path, OwnHeadLoss, 8, 7)
    assert without_values(path, OwnHeadLoss, 8, 6) == ""


def test_a_header_is_all_that_shapes_need(encoder, file):
    types = (torch.float16, torch.bfloat16, torch.float64)
    tensors = {name: t.to(dtype) for (name, t), dtype in zip(filled(encoder).items(), types, strict=True)}
    location = find_weights(file(tensors))
    shapes = read_shapes(location).tensors
    assert {name: (t.shape, t.dtype) for name, t in shapes.items()} == {
        n: (t.shape, t.dtype) for n, t in tensors.items()
    }
    assert all(tensor.is_meta for tensor in shapes.values())


class ProjectingLoss(nn.Module):
    def __init__(self, bias=True):
        super().__init__()
        self.projection = nn.Linear(3, 2, bias=bias)

    def sentence_head(self):
        layer = self.projection
        return SentenceHead(pooling="mean", normalize=True, projection=(layer.weight, layer.bias))


def sentence_folder(folder, encoder, **projection):
    """An export of a sentence encoder, its linear layer in a folder of its own."""
    folder.mkdir()
    save_file(filled(encoder), folder / "model.safetensors")
    if projection:
        (folder / "2_Dense").mkdir()
        save_file(
            {f"linear.{name}": tensor for name, tensor in projection.items()}, folder / "2_Dense/model.safetensors"
        )
    return folder


def test_a_sentence_encoders_projection_is_taken(tmp_path):
    encoder, loss = Encoder(), ProjectingLoss()
    folder = sentence_folder(tmp_path / "export", encoder, weight=torch.full((2, 3), 5.0), bias=torch.full((2,), 6.0))
    load_weights(folder, encoder, loss)
    assert torch.equal(loss.projection.weight, torch.full((2, 3), 5.0))
    assert torch.equal(loss.projection.bias, torch.full((2,), 6.0))


def test_a_projection_that_does_not_fit_is_refused(tmp_path):
    encoder = Encoder()
    folder = sentence_folder(tmp_path / "export", encoder, weight=torch.zeros(4, 3))
    with pytest.raises(UserError) as error:
        load_weights(folder, encoder, ProjectingLoss())
    assert "projection weight is [4, 3] in the file, [2, 3] in the model" in str(error.value)
    assert "missing in the file: projection bias" in str(error.value)


def test_a_projection_without_its_counterpart_is_said(tmp_path):
    encoder = Encoder()
    having = sentence_folder(tmp_path / "having", encoder, weight=torch.zeros(2, 3), bias=torch.zeros(2))
    assert "without its projection (2_Dense)" in load_weights(having, encoder, HeadlessLoss())
    lacking = sentence_folder(tmp_path / "lacking", encoder)
    assert "projection starts afresh" in load_weights(lacking, encoder, ProjectingLoss())
