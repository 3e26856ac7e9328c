"""Stretched rotary angles: against transformers' own tables, and against the formulas written out."""

from __future__ import annotations

import cmath
import math

import pytest
import torch
from transformers import AutoConfig, AutoModel
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from neobert_plugins.models.frequencies import frequencies
from neobert_plugins.models.rotary import rotary_table, split_rotated
from neobert_plugins.models.scaling import RopeScaling, Rotation

CPU = torch.device("cpu")
LINEAR = {"type": "linear", "factor": 4.0, "original_max_position_embeddings": 512}
NTK = {**LINEAR, "type": "ntk"}
YARN = {**LINEAR, "type": "yarn"}
VARIANTS = {
    "linear": LINEAR,
    "linear_by_a_fraction": {**LINEAR, "factor": 1.7},
    "ntk": NTK,
    "ntk_far": {**NTK, "factor": 32.0},
    "yarn": YARN,
    "yarn_far": {**YARN, "factor": 40.0, "original_max_position_embeddings": 4096},
    "yarn_short": {**YARN, "original_max_position_embeddings": 8},
    "yarn_betas": {**YARN, "beta_fast": 8.0, "beta_slow": 2.0},
    "yarn_pairs_in_part": {**YARN, "truncate": False},
    "yarn_one_bound": {**YARN, "beta_fast": 1.0001, "beta_slow": 1.0, "truncate": False},
    "yarn_no_room": {**YARN, "original_max_position_embeddings": 4},
    "yarn_factor": {**YARN, "attention_factor": 1.5},
}
variants = pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS.keys())
widths = pytest.mark.parametrize("head_dim", [8, 64, 96])
thetas = pytest.mark.parametrize("theta", [10000.0, 500.0])


def config_of(options, theta, head_dim):
    """A configuration of stock transformers with the same angles; ``ntk`` by its base, as stated in the paper."""
    kind = options["type"]
    said = {key: value for key, value in options.items() if key != "type"}
    if kind == "ntk":
        theta, said = theta * options["factor"] ** (head_dim / (head_dim - 2)), {}
    elif kind == "linear":
        del said["original_max_position_embeddings"]
    rope = {"rope_type": "default" if kind == "ntk" else kind, "rope_theta": theta, **said}
    sizes = {"hidden_size": 2 * head_dim, "num_attention_heads": 2, "num_hidden_layers": 1, "intermediate_size": 8}
    return AutoConfig.for_model("eurobert", vocab_size=8, pad_token_id=0, rope_parameters=rope, **sizes)


def expected_of(options, theta, head_dim):
    """transformers' inverse frequencies (D / 2,) and attention factor."""
    config = config_of(options, theta, head_dim)
    module = AutoModel.from_config(config).rotary_emb
    kind = config.rope_parameters["rope_type"]
    return ROPE_INIT_FUNCTIONS.get(kind, module.compute_default_rope_parameters)(config)


@variants
@widths
@thetas
def test_frequencies_and_factor_are_those_of_transformers(options, head_dim, theta):
    rotation = Rotation(theta, RopeScaling(**options))
    speeds, factor = expected_of(options, theta, head_dim)
    torch.testing.assert_close(frequencies(rotation, head_dim, torch.float32, CPU), speeds, rtol=1e-6, atol=0)
    assert rotation.attention_factor == pytest.approx(factor, rel=1e-12)


@variants
def test_the_table_is_that_of_transformers_past_the_trained_length(options):
    config = config_of(options, 10000.0, 64)
    positions = torch.arange(2 * options["original_max_position_embeddings"])
    cosine, sine = AutoModel.from_config(config).rotary_emb(torch.zeros(1), positions[None])
    table = rotary_table(positions, 64, Rotation(10000.0, RopeScaling(**options)), torch.float32)
    # transformers has every angle twice, for the two halves of a head.
    torch.testing.assert_close(table[..., 0], cosine[0, :, :32], rtol=0, atol=1e-5)
    torch.testing.assert_close(table[..., 1], sine[0, :, :32], rtol=0, atol=1e-5)


def written_out(options, theta, head_dim, pair):
    """One frequency as the papers have it, in Python's own floats."""
    plain = theta ** (-2 * pair / head_dim)
    factor = options["factor"]
    if options["type"] == "linear":
        return plain / factor
    if options["type"] == "ntk":
        return (theta * factor ** (head_dim / (head_dim - 2))) ** (-2 * pair / head_dim)
    length = options["original_max_position_embeddings"]
    bounds = [
        head_dim * math.log(length / (2 * math.pi * turns)) / (2 * math.log(theta))
        for turns in (options.get("beta_fast", 32.0), options.get("beta_slow", 1.0))
    ]
    if options.get("truncate", True):
        bounds = [math.floor(bounds[0]), math.ceil(bounds[1])]
    first, last = max(bounds[0], 0), min(bounds[1], head_dim - 1)
    divided = min(1.0, max(0.0, (pair - first) / ((last - first) or 0.001)))
    return divided * plain / factor + (1 - divided) * plain


@variants
@widths
def test_a_float64_model_has_float64_angles_of_the_same_formulas(options, head_dim):
    rotation = Rotation(10000.0, RopeScaling(**options))
    found = frequencies(rotation, head_dim, torch.float64, CPU)
    expected = [written_out(options, 10000.0, head_dim, pair) for pair in range(head_dim // 2)]
    assert found.dtype == torch.float64
    assert found.tolist() == pytest.approx(expected, rel=1e-12)
    assert rotary_table(torch.arange(3), head_dim, rotation, torch.float64).dtype == torch.float64


@pytest.mark.parametrize("options", [LINEAR, NTK, YARN], ids=["linear", "ntk", "yarn"])
def test_what_each_type_does_to_the_quickest_and_the_slowest_pair(options):
    before = frequencies(Rotation(10000.0), 64, torch.float64, CPU)
    after = frequencies(Rotation(10000.0, RopeScaling(**options)), 64, torch.float64, CPU)
    quickest = 4.0 if options["type"] == "linear" else 1.0
    assert (before[0] / after[0]).item() == pytest.approx(quickest)
    assert (before[-1] / after[-1]).item() == pytest.approx(4.0)


def test_without_scaling_the_bits_are_those_of_theta_alone():
    positions = torch.arange(700)
    angles = torch.outer(positions.float(), 1.0 / 10000.0 ** (torch.arange(0, 64, 2, dtype=torch.float32) / 64))
    table = rotary_table(positions, 64, Rotation(10000.0), torch.float32)
    assert torch.equal(table, torch.stack((angles.cos(), angles.sin()), dim=-1))


def test_yarn_grows_q_and_k_and_not_v():
    torch.manual_seed(0)
    rotation = Rotation(100.0, RopeScaling(**{**YARN, "attention_factor": 1.5}))
    qkv = torch.randn(3, 1, 3, 4, dtype=torch.float64)
    positions = torch.tensor([0, 1, 700])
    q, k, v = split_rotated(qkv.clone(), rotary_table(positions, 4, rotation, torch.float64))
    assert torch.equal(v, qkv[:, :, 2])
    speeds = frequencies(rotation, 4, torch.float64, CPU).tolist()
    for part, turned in enumerate((q, k)):
        for t, position in enumerate(positions.tolist()):
            for pair, speed in enumerate(speeds):
                x = complex(*qkv[t, 0, part, 2 * pair : 2 * pair + 2].tolist())
                expected = 1.5 * x * cmath.exp(1j * position * speed)
                found = turned[t, 0, 2 * pair : 2 * pair + 2].tolist()
                assert found == pytest.approx([expected.real, expected.imag], abs=1e-12)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_gradient_of_a_growing_rotation_is_that_of_plain_operations(dtype, compiled):
    torch.manual_seed(0)
    rotation = Rotation(100.0, RopeScaling(**YARN))
    table = rotary_table(torch.tensor([0, 1, 5]), 4, rotation, dtype)
    qkv = torch.randn(3, 2, 3, 4, dtype=dtype, requires_grad=True)
    split = torch.compile(split_rotated, backend="eager", fullgraph=True) if compiled else split_rotated
    upstream = torch.randn(3, 3, 2, 4, dtype=dtype)
    (found,) = torch.autograd.grad(split(qkv.clone(), table), qkv, tuple(upstream))
    (cosine, sine), (even, odd) = table[:, None, None].unbind(-1), (qkv[..., ::2], qkv[..., 1::2])
    turned = torch.stack((even * cosine - odd * sine, even * sine + odd * cosine), dim=-1).flatten(-2)
    plain = torch.stack((*turned.unbind(2)[:2], qkv[:, :, 2]))
    (expected,) = torch.autograd.grad(plain, qkv, upstream)
    torch.testing.assert_close(found, expected)


def test_gradcheck_of_a_growing_rotation():
    torch.manual_seed(0)
    table = rotary_table(torch.tensor([0, 1, 900]), 4, Rotation(100.0, RopeScaling(**YARN)), torch.float64)
    qkv = torch.randn(3, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: split_rotated(x.clone(), table), (qkv,))
