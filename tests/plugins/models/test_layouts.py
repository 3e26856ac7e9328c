from __future__ import annotations

import copy

import pytest
import torch
from attrs import evolve
from safetensors.torch import save_file
from tests.conftest import NEEDS_ULTRABERT
from torch import nn

from neobert import SequenceLayout, UserError
from neobert.weights import load_weights
from neobert_plugins.losses.masked_lm import MaskedLMLoss
from neobert_plugins.models import layouts
from neobert_plugins.models.layouts import halves_from_pairs, pairs_from_halves
from neobert_plugins.models.scaling import RopeScaling

YARN = RopeScaling(type="yarn", factor=4.0, original_max_position_embeddings=16)
YARN_EVERY_KEY = evolve(YARN, beta_fast=3.0, beta_slow=0.5, truncate=False, attention_factor=1.3)
NATIVE = {
    "published": {},
    "untied": {"tie_word_embeddings": False},
    "wide_heads": {"num_attention_heads": 1, "hidden_size": 16, "feed_forward_size": 5},
    "theta": {"rope_theta": 160000.0, "norm_eps": 1e-3, "num_hidden_layers": 3},
    "linear": {"rope_scaling": RopeScaling(type="linear", factor=4.0, original_max_position_embeddings=16)},
    "ntk": {"rope_scaling": RopeScaling(type="ntk", factor=4.0, original_max_position_embeddings=16)},
    "yarn": {"rope_scaling": YARN, "rope_theta": 20.0},
    "yarn_every_key": {"rope_scaling": YARN_EVERY_KEY, "rope_theta": 20.0},
}
LOCAL = {"global_every": 2, "window": 3, "num_hidden_layers": 4, "rope_theta": 20.0}
WINDOWS = {
    "local": LOCAL,
    "local_theta": {**LOCAL, "local_rope_theta": 7.0},
    "local_linear": {**LOCAL, "rope_scaling": NATIVE["linear"]["rope_scaling"]},
    "local_yarn": {**LOCAL, "rope_scaling": YARN},
    "local_yarn_every_key": {**LOCAL, "rope_scaling": YARN_EVERY_KEY, "local_rope_theta": 7.0},
    "one_global": {**LOCAL, "global_every": 5},
}
"""Native too, without a head for masked tokens."""
FOREIGN = {
    "ngpt = true": {"ngpt": True},
    "hidden_act = 'gelu'": {"hidden_act": "gelu"},
    "rms_norm = false": {"rms_norm": False},
    "rope = false": {"rope": False},
    "decoder_bias = true": {"decoder_bias": True, "tie_word_embeddings": False},
    "hidden_act = 'gelu', ": {"hidden_act": "gelu", **LOCAL, "rope_scaling": YARN, "local_rope_theta": 7.0},
}
EVERY = NATIVE | WINDOWS | FOREIGN


def run(encoder, lengths=(9, 1, 4)):
    ids = torch.arange(sum(lengths)) * 7 % encoder.vocab_size
    return encoder(ids, SequenceLayout.from_lengths(lengths))


def whole(encoder, loss, prefix="model.", head="decoder."):
    """All tensors of a model under published names."""
    _, tensors = encoder.export()
    state = {f"{prefix}{name}": tensor.detach().clone() for name, tensor in tensors.items()}
    if not encoder.tie_word_embeddings:
        state[f"{head}weight"] = loss.decoder.weight.detach().clone()
    if encoder.decoder_bias:
        state[f"{head}bias"] = loss.decoder.bias.detach().clone()
    return state


def with_head(encoder):
    loss = MaskedLMLoss(encoder)
    for parameter in loss.parameters():
        nn.init.normal_(parameter)
    return encoder, loss


@pytest.mark.parametrize("changes", NATIVE.values(), ids=NATIVE.keys())
def test_native_export_computes_the_same_in_stock_transformers(build, changes):
    from transformers import AutoConfig, AutoModelForMaskedLM

    encoder, loss = with_head(build(dtype=torch.float32, spread=0.2, **changes))
    config, tensors = encoder.export()
    assert encoder.native_obstacles == ()
    native = AutoModelForMaskedLM.from_config(AutoConfig.for_model(**config, pad_token_id=0)).eval()
    state = {f"model.{name}": tensor for name, tensor in tensors.items()} | {
        "lm_head.weight": loss.head_state()["weight"]
    }
    native.load_state_dict(state, strict=True)
    for length in (1, 2, 40):
        ids = torch.arange(length) * 7 % 50
        with torch.no_grad():
            hidden = encoder(ids, SequenceLayout.from_lengths([length]))
            ours, theirs = loss.logits(encoder, hidden), native(input_ids=ids[None]).logits[0]
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5 * float(theirs.abs().max()))


@NEEDS_ULTRABERT
@pytest.mark.parametrize("changes", WINDOWS.values(), ids=WINDOWS.keys())
def test_blocks_with_a_window_compute_the_same_in_stock_transformers(build, changes):
    encoder = build(dtype=torch.float32, spread=0.2, **changes)
    config, tensors = encoder.export()
    assert encoder.native_obstacles == ()
    assert config["model_type"] == "ultrabert"
    off_by_one = {**config, "sliding_window": config["sliding_window"] + 1}
    for length in (1, 2, 40):
        ids = torch.arange(length) * 7 % 50
        with torch.no_grad():
            ours = encoder(ids, SequenceLayout.from_lengths([length]))
            theirs, others = (native_hidden(said, tensors, ids) for said in (config, off_by_one))
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5 * float(theirs.abs().max()))
        if length == 40:
            assert not torch.allclose(ours, others, rtol=1e-3, atol=1e-3 * float(theirs.abs().max()))


def native_hidden(config, tensors, ids):
    from transformers import AutoConfig, AutoModel

    model = AutoModel.from_config(AutoConfig.for_model(**copy.deepcopy(config), pad_token_id=0)).eval()
    model.load_state_dict(tensors, strict=True)
    return model(input_ids=ids[None]).last_hidden_state[0]


def test_without_ultrabert_windows_are_no_native_matter(build, monkeypatch):
    monkeypatch.setattr(layouts, "find_spec", lambda name: None)
    encoder = build(**LOCAL)
    assert encoder.native_obstacles == ("global_every = 2: this transformers has no UltraBERT",)
    assert encoder.export()[0]["model_type"] == "neobert"
    assert build().native_obstacles == ()


def test_what_is_unset_leaves_no_trace_in_a_configuration(build):
    words = ("scaling", "local", "global", "window", "sliding", "layer_types")
    for config, _ in (build().export(), build().export_published()):
        assert not [key for key in config if any(word in key for word in words)]
    assert build().export()[0]["rope_parameters"] == {"rope_type": "default", "rope_theta": 10000.0}


def test_an_export_is_compared_where_its_windows_and_angles_tell(build):
    assert build().telling_lengths == ()
    assert build(**LOCAL, rope_scaling=YARN).telling_lengths == (8, 17)
    assert build(**(LOCAL | {"window": 100})).telling_lengths == (64,)


@NEEDS_ULTRABERT
@pytest.mark.parametrize(("obstacle", "changes"), FOREIGN.items())
def test_what_is_not_native_is_exported_as_published_and_says_why(build, obstacle, changes):
    encoder = build(**changes)
    config, tensors = encoder.export()
    assert encoder.native_obstacles == (obstacle.removesuffix(", "),)
    assert (config["model_type"], config["architectures"]) == ("neobert", ["NeoBERTLMHead"])
    assert tensors.keys() == encoder.state_dict().keys()
    if not changes.get("ngpt"):
        assert {"encoder.weight", "layer_norm.weight", "transformer_encoder.1.qkv.weight"} <= tensors.keys()


def test_published_tensors_bear_the_published_names_and_shapes(build):
    encoder = build(decoder_bias=True, num_hidden_layers=1)
    shapes = {name: tuple(tensor.shape) for name, tensor in encoder.export()[1].items()}
    assert shapes == {
        "encoder.weight": (50, 24),
        "transformer_encoder.0.qkv.weight": (72, 24),
        "transformer_encoder.0.wo.weight": (24, 24),
        "transformer_encoder.0.ffn.w12.weight": (48, 24),
        "transformer_encoder.0.ffn.w3.weight": (24, 24),
        "transformer_encoder.0.attention_norm.weight": (24,),
        "transformer_encoder.0.ffn_norm.weight": (24,),
        "layer_norm.weight": (24,),
    }


def test_rotary_rows_go_to_halves_and_back():
    rows = torch.arange(6.0)[None, :, None]
    assert halves_from_pairs(rows).flatten().tolist() == [0, 2, 4, 1, 3, 5]
    assert torch.equal(pairs_from_halves(halves_from_pairs(rows)), rows)


@pytest.mark.parametrize(
    "changes", [*NATIVE.values(), *WINDOWS.values(), *FOREIGN.values()], ids=[*NATIVE, *WINDOWS, *FOREIGN]
)
@pytest.mark.parametrize("prefix", ["model.", ""])
def test_an_export_loads_back(build, tmp_path, changes, prefix):
    encoder, loss = with_head(build(**changes))
    head = "decoder." if encoder.native_obstacles else "lm_head."
    save_file(whole(encoder, loss, prefix, head), tmp_path / "model.safetensors")
    fresh, fresh_loss = with_head(build(**changes))
    nn.init.ones_(fresh.input_embedding.weight)
    load_weights(tmp_path, fresh, fresh_loss)
    assert torch.equal(run(fresh), run(encoder))
    for name, tensor in loss.head_state().items():
        assert torch.equal(fresh_loss.head_state()[name], tensor)


def test_split_gate_and_up_load_as_one_matrix(build, tmp_path):
    encoder, loss = with_head(build(decoder_bias=True))
    state = whole(encoder, loss)
    for index in range(2):
        gate, up = state.pop(f"model.transformer_encoder.{index}.ffn.w12.weight").chunk(2)
        state[f"model.transformer_encoder.{index}.ffn.w1.weight"] = gate.clone()
        state[f"model.transformer_encoder.{index}.ffn.w2.weight"] = up.clone()
    save_file(state, tmp_path / "weights.safetensors")
    fresh, fresh_loss = with_head(build(decoder_bias=True))
    nn.init.zeros_(fresh.blocks[0].ffn.w12.weight)
    line = load_weights(tmp_path / "weights.safetensors", fresh, fresh_loss)
    assert torch.equal(run(fresh), run(encoder))
    assert line.startswith("15 tensors from ")
    assert "NeoBERT layout" in line


def test_half_of_a_split_matrix_is_left_over_and_missed(build, tmp_path):
    encoder, loss = with_head(build())
    tensors = encoder.export()[1]
    state = {name: tensor.clone() for name, tensor in tensors.items()}
    del state["layers.1.self_attn.k_proj.weight"]
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(UserError) as error:
        load_weights(tmp_path, encoder, loss)
    text = str(error.value)
    assert "left over in the file: layers.1.self_attn.q_proj.weight" in text
    assert "missing in the file: transformer_encoder.1.qkv.weight" in text


def test_another_head_count_is_refused_though_all_shapes_agree(build, tmp_path):
    import json

    encoder, loss = with_head(build())
    config, _ = encoder.export()
    save_file(whole(encoder, loss), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(config))
    other = build(num_attention_heads=2)
    before = {name: tensor.clone() for name, tensor in other.state_dict().items()}
    with pytest.raises(UserError, match="num_attention_heads = 3 there, 2 in this recipe"):
        load_weights(tmp_path, other, MaskedLMLoss(other))
    assert all(torch.equal(tensor, before[name]) for name, tensor in other.state_dict().items())


def test_another_theta_is_said(build, tmp_path):
    import json

    encoder, loss = with_head(build())
    config, _ = encoder.export()
    save_file(whole(encoder, loss), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(config))
    longer = build(rope_theta=160000.0)
    line = load_weights(tmp_path, longer, MaskedLMLoss(longer))
    assert "rope_theta = 160000 where the weights had 10000" in line


def test_published_normalised_weights_load_without_what_nothing_reads(build, tmp_path):
    encoder, loss = with_head(build(ngpt=True))
    state = whole(encoder, loss) | {"model.sz": torch.ones(50), "model.layer_norm.weight": torch.ones(24)}
    save_file(state, tmp_path / "model.safetensors")
    fresh, fresh_loss = with_head(build(ngpt=True))
    nn.init.zeros_(fresh.blocks[0].sqk)
    line = load_weights(tmp_path, fresh, fresh_loss)
    assert torch.equal(run(fresh), run(encoder))
    assert "without sz, layer_norm.weight, which the normalised model never reads" in line


def checkpoint(folder, encoder, loss, model_table):
    state = {f"encoder.{name}": tensor for name, tensor in encoder.state_dict().items()}
    state |= {f"loss.{name}": tensor for name, tensor in loss.state_dict().items()}
    save_file(state, folder / "state.safetensors")
    (folder / "recipe.toml").write_text(f"[model]\n{model_table}\n")


def test_a_runs_checkpoint_loads_back(build, tmp_path):
    encoder, loss = with_head(build(tie_word_embeddings=False, decoder_bias=True))
    checkpoint(tmp_path, encoder, loss, "num_attention_heads = 3")
    fresh, fresh_loss = with_head(build(tie_word_embeddings=False, decoder_bias=True))
    nn.init.zeros_(fresh.blocks[0].wo.weight)
    load_weights(tmp_path, fresh, fresh_loss)
    assert torch.equal(run(fresh), run(encoder))
    assert torch.equal(fresh_loss.decoder.weight, loss.decoder.weight)


def test_a_runs_checkpoint_of_another_head_count_is_refused(build, tmp_path):
    encoder, loss = with_head(build())
    checkpoint(tmp_path, encoder, loss, "num_attention_heads = 3")
    other = build(num_attention_heads=2)
    with pytest.raises(UserError, match="num_attention_heads = 3 there"):
        load_weights(tmp_path, other, MaskedLMLoss(other))
