"""Weights to start from, beside a recipe that asks for another model: what is refused, what grows, what is said."""

from __future__ import annotations

import json

import pytest
import torch
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from tests.conftest import NEEDS_ULTRABERT

from neobert import SequenceLayout, UserError
from neobert.weights import load_weights
from neobert_plugins.losses.masked_lm import MaskedLMLoss
from neobert_plugins.models import NeoBERT
from neobert_plugins.models.comparison import compare
from neobert_plugins.models.descriptions import described
from neobert_plugins.models.layouts import export_native, export_published
from neobert_plugins.models.scaling import RopeScaling

YARN = RopeScaling(type="yarn", factor=4.0, original_max_position_embeddings=64)
LOCAL = {"global_every": 2, "window": 3}


@pytest.fixture
def start(build, tmp_path):
    """``start(weights, model)``: options of both; the line about weights that were exported and loaded."""

    def make(before, after, config=True, published=False, **more):
        encoder = build(**before)
        said, tensors = encoder.export_published() if published else encoder.export()
        save_file({name: tensor.detach().clone() for name, tensor in tensors.items()}, tmp_path / "model.safetensors")
        if config:
            (tmp_path / "config.json").write_text(json.dumps(said))
        fresh = build(**after)
        return encoder, fresh, load_weights(tmp_path, fresh, MaskedLMLoss(fresh), **more)

    return make


def refusal(start, before, after, **more):
    with pytest.raises(UserError) as caught:
        start(before, after, **more)
    header, *lines = str(caught.value).splitlines()
    assert header == "the weights do not fit this recipe's [model]:"
    return [line.removeprefix("  ") for line in lines]


@pytest.mark.parametrize("published", [False, True])
def test_a_rotary_model_grows_by_its_options_alone(start, published):
    encoder, fresh, line = start({}, {"max_position_embeddings": 256}, published=published)
    assert line.endswith("NeoBERT layout" if published else "EuroBERT layout")
    ids, layout = torch.arange(9), SequenceLayout.from_lengths([9])
    assert torch.equal(fresh(ids, layout), encoder(ids, layout))
    long = torch.arange(200) % 50
    assert fresh(long, SequenceLayout.from_lengths([200])).shape == (200, 24)


@pytest.mark.parametrize("config", [True, False])
def test_learned_positions_are_repeated_and_it_is_said(start, config):
    before = {"rope": False, "max_position_embeddings": 10}
    encoder, fresh, line = start(before, {**before, "max_position_embeddings": 24}, config)
    old, new = (each.get_parameter("positional_embedding.weight") for each in (encoder, fresh))
    assert torch.equal(new[:11], old)
    assert torch.equal(new[11:21], old[1:])
    assert torch.equal(new[21:], old[1:5])
    assert "10 learned positions there, 24 here: the others are copies of them, from the first on" in line
    ids, layout = torch.arange(9), SequenceLayout.from_lengths([9])
    assert torch.equal(fresh(ids, layout), encoder(ids, layout))


@pytest.mark.parametrize("published", [False, True])
@pytest.mark.parametrize("rope", [True, False])
def test_a_shorter_context_is_refused(start, rope, published):
    before = {"rope": rope, "max_position_embeddings": 64}
    (line,) = refusal(start, before, {**before, "max_position_embeddings": 32}, published=published)
    assert line.startswith("max_position_embeddings = 64 there, 32 in this recipe: raise it, or the context")


def test_a_shorter_table_of_positions_is_refused_without_a_configuration(start):
    before = {"rope": False, "max_position_embeddings": 64}
    (line,) = refusal(start, before, {**before, "max_position_embeddings": 32}, config=False)
    assert line.startswith("max_position_embeddings = 64 there, 32 in this recipe")


@pytest.mark.parametrize("layout", ["native", "published", "tensors_alone", "native_tensors_alone"])
def test_every_difference_of_shape_in_a_line_each(start, layout):
    before = {"hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 6, "intermediate_size": 60}
    after = {"vocab_size": 60, "num_attention_heads": 3}
    lines = refusal(
        start, before, after, config="alone" not in layout, published=layout in ("published", "tensors_alone")
    )
    expected = [
        "hidden_size = 48 there, 24 in this recipe",
        "num_hidden_layers = 3 there, 2 in this recipe",
        "num_attention_heads = 6 there, 3 in this recipe",
        "feed_forward_size = 40 there, 24 in this recipe, from intermediate_size = 30",
        "50 vocabulary entries there, 60 in this recipe, by its tokenizer, which is no fault where the rest is padding "
        "beyond the tokenizer",
    ]
    if "alone" in layout:
        del expected[2]  # no shape tells
    assert lines == expected


@pytest.mark.parametrize("changes", [{"hidden_act": "gelu"}, {"ngpt": True}], ids=["gelu", "ngpt"])
def test_the_width_of_other_layers_is_known_too(start, changes):
    (line,) = refusal(start, {**changes, "feed_forward_size": 7}, {**changes, "feed_forward_size": 8}, config=False)
    assert line == "feed_forward_size = 7 there, 8 in this recipe"


def test_a_vocabulary_alone_is_told_by_its_rows(start):
    with pytest.raises(UserError, match=r"encoder\.weight has 50 rows in the file, 40 in the model, and the tokenizer"):
        start({}, {"vocab_size": 40}, num_tokens=40)
    assert "50 of 60 rows there" in start({}, {"vocab_size": 60}, num_tokens=50)[2]


def test_shared_keys_and_wide_heads_of_others_are_named():
    options = NeoBERT(hidden_size=24, num_attention_heads=3, num_hidden_layers=1, feed_forward_size=8)
    config = {
        "model_type": "eurobert",
        "hidden_size": 24,
        "num_attention_heads": 3,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "max_position_embeddings": 8192,
    }
    with pytest.raises(UserError) as caught:
        compare(options, 50, described(config, {}))
    assert str(caught.value).splitlines()[1:] == [
        "  a head is 16 wide there, 8 here: hidden_size / num_attention_heads",
        "  num_key_value_heads = 1 there: here every head has a key and a value of its own",
        "  max_position_embeddings = 8192 there, 4096 in this recipe: raise it, or the context that the weights have "
        "is cut (dataset.max_seq_length may be shorter)",
    ]


LONGER, LONGEST = ({"max_position_embeddings": length} for length in (256, 1024))
IN_WORDS = "yarn by 4 from 64 (beta 32 and 1, attention 1.139)"
NOTES = {
    "theta": ({}, {"rope_theta": 160000.0}, ["rope_theta = 160000 where the weights had 10000"]),
    "stretched": (
        {},
        LONGER | {"rope_scaling": YARN},
        ["rope_scaling = yarn by 4 from 64 (beta 32 and 1, attention 1.139) where the weights had none"],
    ),
    "stretched_from_elsewhere": (
        {},
        LONGER | {"rope_scaling": RopeScaling(type="linear", factor=8.0, original_max_position_embeddings=32)},
        [
            "rope_scaling = linear by 8 where the weights had none",
            "rope_scaling.original_max_position_embeddings = 32 where the weights had max_position_embeddings = 64",
        ],
    ),
    "no_longer_stretched": (
        LONGER | {"rope_scaling": YARN},
        LONGER,
        [f"rope_scaling = none where the weights had {IN_WORDS}"],
    ),
    "stretched_again": (
        LONGER | {"rope_scaling": YARN, "rope_theta": 20.0},
        LONGEST | {"rope_scaling": evolve(YARN, original_max_position_embeddings=256), "rope_theta": 20.0},
        [
            f"rope_scaling = {IN_WORDS.replace('64', '256')} where the weights had {IN_WORDS}",
            "rope_scaling.original_max_position_embeddings = 256 where the weights had "
            "original_max_position_embeddings = 64",
        ],
    ),
    "stretched_again_to_the_same_angles": (
        LONGER | {"rope_scaling": YARN},
        LONGEST | {"rope_scaling": evolve(YARN, original_max_position_embeddings=256)},
        [
            "rope_scaling.original_max_position_embeddings = 256 where the weights had "
            "original_max_position_embeddings = 64",
        ],
    ),
    "windows": ({}, LOCAL, ["global_every = 2 where the weights had none", "window = 3 where the weights had none"]),
    "no_windows": (LOCAL, {}, ["global_every = none where the weights had 2", "window = none where the weights had 3"]),
    "wider": (LOCAL, LOCAL | {"window": 5}, ["window = 5 where the weights had 3"]),
    "local_theta": (LOCAL, LOCAL | {"local_rope_theta": 9.0}, ["local_rope_theta = 9 where the weights had none"]),
    "long_stage": (
        LOCAL,
        LOCAL | LONGER | {"rope_scaling": YARN, "local_rope_theta": 10000.0},
        [
            f"rope_scaling = {IN_WORDS} where the weights had none",
            "local_rope_theta = 10000 where the weights had none",
        ],
    ),
}


@pytest.mark.parametrize("published", [False, True], ids=["native", "published"])
@pytest.mark.parametrize(("before", "after", "notes"), NOTES.values(), ids=NOTES.keys())
def test_other_angles_and_windows_are_said(start, before, after, notes, published):
    line = start(before, after, published=published)[2]
    assert line.split("; ")[2:] == notes


def test_a_runs_checkpoint_says_them_too(build, tmp_path):
    """Its own names need no layout, but its recipe tells of other angles."""
    encoder = build()
    state = {f"encoder.{name}": tensor for name, tensor in encoder.state_dict().items()}
    save_file(state, tmp_path / "state.safetensors")
    (tmp_path / "recipe.toml").write_text("[model]\nmax_position_embeddings = 64\nrope_theta = 10000.0\n")
    fresh = build(rope_theta=500.0)
    assert "rope_theta = 500 where the weights had 10000" in load_weights(tmp_path, fresh, MaskedLMLoss(fresh))
    shorter = build(max_position_embeddings=32)
    with pytest.raises(UserError, match="max_position_embeddings = 64 there, 32 in this recipe"):
        load_weights(tmp_path, shorter, MaskedLMLoss(shorter))


@NEEDS_ULTRABERT
def test_angles_that_only_look_different_are_not_said(start):
    """A larger base is one, whether a recipe has it as ``ntk`` or a native configuration as a number."""
    ntk = {"rope_scaling": evolve(YARN, type="ntk"), **LONGER}
    assert start(ntk, ntk)[2].endswith("EuroBERT layout")
    same = {"rope_theta": 10000.0 * 4.0 ** (8 / 6), **LONGER}
    assert start(ntk, same)[2].endswith("EuroBERT layout")
    spelled_out = {"rope_scaling": evolve(YARN, beta_fast=32.0, beta_slow=1.0, truncate=True), **LONGER}
    assert start({"rope_scaling": YARN, **LONGER}, spelled_out, published=True)[2].endswith("NeoBERT layout")
    assert start(LOCAL, LOCAL | {"local_rope_theta": 10000.0})[2].endswith("EuroBERT layout")


@pytest.mark.parametrize(
    ("config", "note"),
    [
        ({"rope_scaling": {"type": "linear", "factor": 2.0}, "rope_theta": 10000.0}, "weights had linear by 2"),
        (
            {"rope_parameters": {"rope_type": "llama3", "factor": 8.0, "rope_theta": 10000.0}},
            "angles of the type 'llama3'",
        ),
        (
            {
                "rope_parameters": {
                    "rope_type": "yarn",
                    "factor": 4.0,
                    "original_max_position_embeddings": 64,
                    "mscale": 1.0,
                    "mscale_all_dim": 0.5,
                }
            },
            "attention 1.065",
        ),
        ({"model_type": "ultrabert", "num_hidden_layers": 4}, "a window of 128 in all blocks but 2"),
        (
            {"model_type": "ultrabert", "attention_windows": [0, 9, 0, 9], "sliding_window": 9},
            "window = none where the weights had 9",
        ),
        (
            {"model_type": "ultrabert", "attention_windows": [0, 9], "rope_theta": [50.0, 9.0], "sliding_window": 9},
            "rope_theta = 10000 where the weights had 50; local_rope_theta = none where the weights had 9",
        ),
        ({"model_type": "neobert"}, "rope_theta = 7 where the weights had 10000"),
    ],
    ids=[
        "older_words",
        "other_type",
        "mscale",
        "ultrabert",
        "ultrabert_windows",
        "ultrabert_bases",
        "published_neobert",
    ],
)
def test_configurations_of_others_are_understood(config, note):
    layers = 4 if "ultrabert" in config.values() and len(config.get("attention_windows", "four")) == 4 else 2
    theta = 7.0 if config.get("model_type") == "neobert" else 10000.0
    options = NeoBERT(hidden_size=16, num_attention_heads=2, num_hidden_layers=layers, rope_theta=theta)
    notes = compare(options, 50, described({"model_type": "eurobert", **config}, {}))
    assert note in "; ".join(notes)


positive = st.floats(0.1, 100.0)
scalings = st.builds(
    RopeScaling,
    type=st.just("yarn"),
    factor=st.floats(1.1, 64.0),
    original_max_position_embeddings=st.integers(8, 4096),
    beta_fast=st.none() | st.floats(8.0, 64.0),
    beta_slow=st.none() | st.floats(0.1, 7.0),
    truncate=st.none() | st.booleans(),
    attention_factor=st.none() | positive,
) | st.builds(
    RopeScaling,
    type=st.sampled_from(["linear", "ntk"]),
    factor=st.floats(1.1, 64.0),
    original_max_position_embeddings=st.integers(8, 4096),
)


@settings(max_examples=60, deadline=None)
@given(
    st.fixed_dictionaries(
        {
            "rope_theta": st.floats(2.0, 1e6),
            "rope_scaling": st.none() | scalings,
            "num_hidden_layers": st.integers(2, 7),
        },
        optional={"windows": st.tuples(st.integers(2, 9), st.integers(1, 500), st.none() | st.floats(2.0, 1e6))},
    )
)
def test_an_export_describes_the_model_that_it_came_from(drawn):
    every, window, local = drawn.pop("windows", (None, None, None))
    options = NeoBERT(
        hidden_size=16,
        num_attention_heads=2,
        intermediate_size=12,
        global_every=every,
        window=window,
        local_rope_theta=local,
        **drawn,
    )
    state = _state(options)
    for export in (export_native, export_published):
        config, tensors = export(options, 9, state)
        found = described(json.loads(json.dumps(config)), tensors)
        assert compare(options, 9, found) == []
        assert found.oddities == ()
    assert found.positions == options.positions


def _state(options):
    hidden, width = options.hidden_size, options.feed_forward_width
    shapes = {
        "qkv": (3 * hidden, hidden),
        "wo": (hidden, hidden),
        "ffn.w12": (2 * width, hidden),
        "ffn.w3": (hidden, width),
    }
    shapes |= {"attention_norm": (hidden,), "ffn_norm": (hidden,)}
    blocks = {
        f"transformer_encoder.{index}.{name}.weight": torch.zeros(shape)
        for index in range(options.num_hidden_layers)
        for name, shape in shapes.items()
    }
    return {"encoder.weight": torch.zeros(9, hidden), "layer_norm.weight": torch.zeros(hidden), **blocks}
