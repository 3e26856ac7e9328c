from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from attrs import evolve
from torch.utils.checkpoint import checkpoint

from neobert import AttentionNeeds, SequenceLayout
from neobert_plugins.models.scaling import RopeScaling

LENGTHS = (5, 1, 7, 7, 2)
LOCAL = {"global_every": 2, "window": 2, "num_hidden_layers": 3}


def scaling(kind):
    """Trained on 16 tokens, and stretched to the 64 of the tiny model."""
    return RopeScaling(type=kind, factor=4.0, original_max_position_embeddings=16)


VARIANTS = {
    "published": {},
    "eager": {"backend": "eager"},
    "gelu": {"hidden_act": "gelu"},
    "layer_norm": {"rms_norm": False},
    "learned_positions": {"rope": False},
    "other_theta": {"rope_theta": 50.0, "norm_eps": 1e-2},
    "width_outright": {"feed_forward_size": 10},
    "one_layer": {"num_hidden_layers": 1},
    "ngpt": {"ngpt": True},
    "ngpt_learned_positions": {"ngpt": True, "rope": False, "base_scale": 0.2},
    "linear": {"rope_scaling": scaling("linear")},
    "ntk": {"rope_scaling": scaling("ntk")},
    "yarn": {"rope_scaling": scaling("yarn"), "rope_theta": 20.0},
    "ngpt_yarn": {"ngpt": True, "base_scale": 0.2, "rope_scaling": scaling("yarn"), "rope_theta": 20.0},
    "local": LOCAL,
    "local_eager": {**LOCAL, "backend": "eager"},
    "local_last": {**LOCAL, "num_hidden_layers": 2},
    "local_learned_positions": {**LOCAL, "rope": False},
    "ngpt_local": {**LOCAL, "ngpt": True},
    "local_yarn": {**LOCAL, "rope_scaling": scaling("yarn"), "rope_theta": 20.0},
    "local_theta_yarn": {**LOCAL, "rope_scaling": scaling("yarn"), "rope_theta": 20.0, "local_rope_theta": 7.0},
    "ngpt_local_theta_yarn": {
        **LOCAL,
        "ngpt": True,
        "rope_scaling": scaling("yarn"),
        "rope_theta": 20.0,
        "local_rope_theta": 7.0,
    },
}
variants = pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())


def stream(lengths=LENGTHS, vocab_size=50):
    torch.manual_seed(1)
    return torch.randint(0, vocab_size, (sum(lengths),)), SequenceLayout.from_lengths(lengths)


def gradients(encoder, hidden, weights):
    encoder.zero_grad()
    (hidden * weights).sum().backward()
    return {name: p.grad.clone() for name, p in encoder.named_parameters() if p.grad is not None}


@variants
def test_output_is_that_of_the_plain_implementation(build, reference, changes):
    encoder = build(**changes)
    ids, layout = stream()
    expected = reference.encode(encoder.state_dict(), encoder.options, ids, LENGTHS)
    torch.testing.assert_close(encoder(ids, layout), expected, rtol=0, atol=1e-10)


@variants
def test_gradient_is_that_of_the_plain_implementation(build, reference, changes):
    encoder = build(**changes)
    ids, layout = stream()
    weights = torch.randn(len(ids), 24, dtype=torch.float64)
    found = gradients(encoder, encoder(ids, layout), weights)
    state = {name: p.detach().clone().requires_grad_() for name, p in encoder.named_parameters()}
    (reference.encode(state, encoder.options, ids, LENGTHS) * weights).sum().backward()
    assert found.keys() == state.keys()
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, state[name].grad, rtol=1e-8, atol=1e-9, msg=name)


@variants
def test_packed_sequences_are_what_they_are_alone(build, changes):
    encoder = build(**changes)
    ids, layout = stream()
    weights = torch.randn(len(ids), 24, dtype=torch.float64)
    packed = encoder(ids, layout)
    alone = torch.cat([encoder(part, SequenceLayout.from_lengths([len(part)])) for part in ids.split(list(LENGTHS))])
    torch.testing.assert_close(packed, alone, rtol=0, atol=1e-11)
    together, apart = gradients(encoder, packed, weights), gradients(encoder, alone, weights)
    for name, gradient in together.items():
        torch.testing.assert_close(gradient, apart[name], rtol=1e-8, atol=1e-9, msg=name)


@variants
def test_kept_positions_are_those_of_the_whole_stream_in_the_order_asked(build, changes):
    encoder = build(**changes)
    ids, layout = stream()
    keep = torch.tensor([20, 0, 5, 6, 13])
    weights = torch.randn(len(keep), 24, dtype=torch.float64)
    whole, kept = encoder(ids, layout)[keep], encoder(ids, layout, keep)
    torch.testing.assert_close(kept, whole, rtol=0, atol=1e-11)
    found, expected = (
        gradients(encoder, kept, weights),
        gradients(encoder, encoder(ids, layout)[keep], weights),
    )
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-8, atol=1e-9, msg=name)


@variants
def test_keeping_nothing_gives_no_rows_and_zero_gradients(build, changes):
    encoder = build(**changes)
    ids, layout = stream()
    kept = encoder(ids, layout, torch.empty(0, dtype=torch.int64))
    assert kept.shape == (0, 24)
    kept.sum().backward()
    assert all(p.grad is not None and not p.grad.any() for p in encoder.parameters())


@pytest.mark.parametrize("backend", ["sdpa", "eager"])
@pytest.mark.parametrize("ngpt", [False, True])
def test_dropout_depends_on_the_generator_alone(build, backend, ngpt):
    encoder = build(dropout_prob=0.3, backend=backend, ngpt=ngpt)
    ids, layout = stream()

    def run(seed):
        torch.manual_seed(seed)
        return encoder(ids, layout)

    assert torch.equal(run(3), run(3))
    assert not torch.allclose(run(3), run(4))
    encoder.eval()
    assert torch.equal(run(3), run(4))


def test_dropout_acts_on_shares_and_on_both_halves_of_a_block(build):
    plain = build(num_hidden_layers=1).train()
    dropping = build(num_hidden_layers=1, dropout_prob=0.5).train()
    seen = []
    block = dropping.blocks[0]
    inner = block.attend
    block.attend = lambda *qkv, **options: seen.append(options["dropout_p"]) or inner(*qkv, **options)
    ids, layout = stream()
    torch.manual_seed(0)
    mean = torch.stack([dropping(ids, layout) for _ in range(5)]).mean(0)
    assert seen == [0.5] * 5
    assert not torch.allclose(mean, plain(ids, layout))


def test_weights_start_uniform_in_the_ranges_asked(options, build):
    from pathlib import Path

    from neobert import BuildContext

    context = BuildContext(
        seed=1,
        device=torch.device("cpu"),
        run_directory=Path(),
        max_seq_length=8,
        max_steps=1,
        vocab_size=500,
    )
    wanted = {"hidden_size": 48, "embedding_init_range": 0.3, "decoder_init_range": 0.01, "rope": False}
    encoder = options(**wanted).build(context)
    for name, parameter in encoder.named_parameters():
        if "norm" in name:
            assert torch.equal(parameter, torch.ones_like(parameter))
            continue
        reach = 0.3 if name in ("encoder.weight", "positional_embedding.weight") else 0.01
        assert parameter.abs().max() <= reach
        assert parameter.detach().std() == pytest.approx(reach / 3**0.5, rel=0.1)


def test_the_normalised_variant_starts_as_published(options):
    from pathlib import Path

    from neobert import BuildContext

    context = BuildContext(
        seed=1, device=torch.device("cpu"), run_directory=Path(), max_seq_length=8, max_steps=1, vocab_size=50
    )
    made = options(ngpt=True, base_scale=0.25, hidden_size=96, intermediate_size=100, num_hidden_layers=2)
    encoder = made.build(context)
    block = encoder.blocks[0]
    assert not [name for name, _ in encoder.named_parameters() if "norm" in name]
    for scale in (block.attn_alpha, block.mlp_alpha, block.sqk):
        assert torch.equal(scale, torch.full((96,), 0.25))
    assert torch.equal(block.suv, torch.ones(200))
    assert block.mlp_c_proj.weight.detach().std() == pytest.approx(0.25 / 4**0.5, rel=0.05)
    ids, layout = stream()
    norms = encoder(ids, layout).norm(dim=-1)
    torch.testing.assert_close(norms, torch.ones_like(norms))


def test_feed_forward_width_follows_the_published_formula(options):
    widths = {3072: 2048, 1024: 688, 30: 24, 12: 8, 13: 8}
    assert {size: options(intermediate_size=size).feed_forward_width for size in widths} == widths
    assert options(intermediate_size=30, hidden_act="gelu").feed_forward_width == 30
    assert options(intermediate_size=30, ngpt=True).feed_forward_width == 30
    assert options(intermediate_size=30, feed_forward_size=7).feed_forward_width == 7


def test_a_sequence_over_the_longest_is_refused(build):
    ids, layout = stream((65,))
    with pytest.raises(ValueError, match=r"65 tokens is over model\.max_position_embeddings = 64"):
        build()(ids, layout)


@pytest.mark.parametrize("changes", [{}, LOCAL, {**LOCAL, "local_rope_theta": 7.0}], ids=["all", "local", "theta"])
@pytest.mark.parametrize("ngpt", [False, True])
def test_blocks_can_be_recomputed_in_the_backward_pass(build, ngpt, changes):
    plain, recomputed = (build(ngpt=ngpt, dropout_prob=0.2, **changes) for _ in range(2))
    for block in recomputed.blocks:
        inner = block.forward
        block.forward = lambda *inputs, inner=inner: checkpoint(inner, *inputs, use_reentrant=False)
    ids, layout = stream()
    keep = torch.tensor([3, 1])
    weights = torch.randn(2, 24, dtype=torch.float64)
    torch.manual_seed(5)
    expected = gradients(plain, plain(ids, layout, keep), weights)
    torch.manual_seed(5)
    found = gradients(recomputed, recomputed(ids, layout, keep), weights)
    assert all(torch.equal(gradient, expected[name]) for name, gradient in found.items())


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("changes", [{}, {"ngpt": True}], ids=["plain", "ngpt"])
def test_compiled_blocks_see_what_plain_ones_do(build, backend, changes):
    made = {"rope_scaling": scaling("yarn"), "rope_theta": 20.0, "local_rope_theta": 7.0, **LOCAL, **changes}
    plain, compiled = build(**made), build(**made)
    # As the core calls them: attention stands outside of compiled code.
    for block in compiled.blocks:
        block.attend = torch.compiler.disable(block.attend)
        block.forward = torch.compile(block.forward, backend=backend)
    ids, layout = stream()
    keep = torch.tensor([20, 0, 5])
    weights = torch.randn(3, 24, dtype=torch.float64)
    ours, theirs = compiled(ids, layout, keep), plain(ids, layout, keep)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-11)
    found, expected = gradients(compiled, ours, weights), gradients(plain, theirs, weights)
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-8, atol=1e-9, msg=name)


def test_a_token_reaches_as_far_as_the_windows_of_all_blocks(build):
    """A change reaches ``window`` tokens further with each local block, and everything with a global one."""
    ids, layout = stream((30,))
    changed = ids.clone()
    changed[15] = (ids[15] + 1) % 50
    reached = {}
    for layers in (1, 2, 3):
        encoder = build(num_hidden_layers=layers, global_every=9, window=3)
        encoder.blocks[0].reach = {"window": 3}
        moved = (encoder(ids, layout) - encoder(changed, layout)).abs().amax(-1) > 1e-12
        reached[layers] = moved.nonzero().flatten().tolist()
    assert reached == {1: [*range(12, 19)], 2: [*range(9, 22)], 3: [*range(6, 25)]}
    encoder = build(num_hidden_layers=3, global_every=2, window=3)
    assert bool(((encoder(ids, layout) - encoder(changed, layout)).abs().amax(-1) > 1e-12).all())


def test_which_blocks_see_everything(options):
    made = options(num_hidden_layers=7, global_every=3, window=4)
    assert [made.positions.window_of(block) for block in range(7)] == [None, 4, 4, None, 4, 4, None]
    assert [options(num_hidden_layers=7).positions.window_of(block) for block in range(7)] == [None] * 7


def test_a_backend_without_a_window_is_never_asked_for_one(build):
    encoder, asked = build(), []
    for block in encoder.blocks:
        inner = block.attend
        block.attend = lambda *qkv, inner=inner, **options: asked.append(set(options)) or inner(*qkv, **options)
    encoder(*stream())
    assert asked == [{"scale", "dropout_p"}] * 2


def test_autocast_stays_near_the_exact_output(build):
    # Weights of an ordinary size: with wild ones attention is all but a choice, which rounding may turn over.
    encoder = build(dtype=torch.float32, spread=0.2)
    ids, layout = stream()
    exact = encoder(ids, layout)
    with torch.autocast("cpu", torch.bfloat16):
        rough = encoder(ids, layout)
    assert rough.dtype == torch.float32
    assert 0 < (rough - exact).abs().max() < 0.03 * exact.abs().max()


def test_the_encoder_says_what_a_head_needs(build):
    encoder = build(tie_word_embeddings=False, decoder_bias=True, decoder_init_range=0.5)
    assert (encoder.hidden_size, encoder.vocab_size) == (24, 50)
    assert (encoder.tie_word_embeddings, encoder.decoder_bias, encoder.decoder_init_range) == (
        False,
        True,
        0.5,
    )
    assert encoder.input_embedding.weight is encoder.get_parameter("encoder.weight")
    assert len(encoder.blocks) == 2


def problems(options, max_seq_length=32):
    return options.check(SimpleNamespace(dataset=SimpleNamespace(max_seq_length=max_seq_length)))


def test_check_finds_what_cannot_work(options):
    assert problems(options()) == []
    assert "no multiple of num_attention_heads = 5" in problems(options(num_attention_heads=5))[0]
    assert "even width" in problems(options(num_attention_heads=8))[0]
    assert problems(options(num_attention_heads=8, rope=False)) == []
    assert "max_seq_length = 65 is over" in problems(options(), 65)[0]
    assert len(problems(options(ngpt=True, hidden_act="gelu", rms_norm=False))) == 2


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"window": 4}, "window: has no effect without model.global_every"),
        ({"global_every": 3}, "global_every: has no effect without model.window"),
        (
            {"window": 4, "global_every": 2, "num_hidden_layers": 1},
            "global_every: has no effect: num_hidden_layers = 1",
        ),
        ({"local_rope_theta": 5.0}, "local_rope_theta: has no effect without model.global_every"),
        ({**LOCAL, "rope": False, "local_rope_theta": 5.0}, "local_rope_theta: has no effect: rope is false"),
        ({"rope_scaling": scaling("ntk"), "rope": False}, "rope_scaling.type: has no effect: rope is false"),
        (
            {"rope_scaling": evolve(scaling("linear"), beta_fast=3.0)},
            'rope_scaling.beta_fast: has no effect: only type = "yarn" has it',
        ),
        (
            {"rope_scaling": evolve(scaling("ntk"), truncate=True)},
            'rope_scaling.truncate: has no effect: only type = "yarn" has it',
        ),
        (
            {"rope_scaling": evolve(scaling("yarn"), beta_slow=40.0)},
            "rope_scaling.beta_fast: expected more than beta_slow, and 32 is not over 40",
        ),
        ({"rope_scaling": scaling("yarn"), "rope_theta": 1.0}, 'rope_theta: type = "yarn" needs a base over 1'),
        ({"rope_scaling": scaling("ntk"), "hidden_size": 6}, "rope_scaling.type: ntk divides by head dim - 2"),
        (
            {"rope_scaling": scaling("ntk"), "max_position_embeddings": 96},
            "rope_scaling.factor: 4 x 16 trained positions reach 64, and max_position_embeddings = 96 is over that: "
            "raise factor to 6",
        ),
    ],
    ids=lambda value: None if isinstance(value, str) else "-".join(value),
)
def test_keys_that_do_nothing_or_cannot_work(options, changes, expected):
    (found,) = problems(options(**changes))
    assert found.startswith(expected)


def test_the_documented_uses_have_no_objection(options):
    for kind in ("linear", "ntk", "yarn"):
        assert problems(options(rope_scaling=scaling(kind))) == []
    # A third cannot be written out: the factor may be rounded.
    third = RopeScaling(type="linear", factor=1.33333, original_max_position_embeddings=768)
    assert problems(options(rope_scaling=third, max_position_embeddings=1024)) == []
    assert problems(options(**LOCAL, local_rope_theta=5.0, ngpt=True)) == []


def test_what_it_asks_of_its_backend(options):
    assert options(dropout_prob=0.1).attention_needs() == AttentionNeeds(dropout_p=0.1, head_dim=options().head_dim)
    assert options(**LOCAL).attention_needs() == AttentionNeeds(window=2, head_dim=options().head_dim)


@pytest.mark.parametrize("ngpt", [False, True])
def test_no_question_is_put_to_the_device(build, ngpt):
    """On the meta device every read of a value raises."""
    more = {"rope_scaling": scaling("yarn"), "local_rope_theta": 7.0, **LOCAL}
    encoder = build(dtype=torch.float32, ngpt=ngpt, dropout_prob=0.1, **more).to("meta")
    ids, layout = stream()
    keep = torch.tensor([3, 1], device="meta")
    encoder(ids.to("meta"), layout.to("meta"), keep).sum().backward()
    assert encoder.input_embedding.weight.grad.shape == (50, 24)
