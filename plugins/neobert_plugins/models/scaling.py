"""Options of rotary positions: the base of the angles, and how they are stretched for longer sequences."""

from __future__ import annotations

import math
from typing import Literal

from attrs import field, frozen
from attrs.validators import and_, ge, gt, lt, optional

_positive = and_(gt(0.0), lt(float("inf")))

ONLY_YARN = ("beta_fast", "beta_slow", "truncate", "attention_factor")
"""Keys that mean nothing to the other types."""


@frozen(kw_only=True)
class RopeScaling:
    """Stretches rotary angles, so that positions past the trained length come out like trained ones.

    ``linear`` is position interpolation (Chen et al., 2023, arXiv:2306.15595): all angles divided by ``factor``.
    ``ntk`` is the NTK-aware base (bloc97, 2023; section 3.1 of the YaRN paper): theta * factor ** (D / (D - 2)), so
    that the slowest pair turns ``factor`` times slower and the quickest as before. ``yarn`` is YaRN (Peng et al.,
    2023, arXiv:2309.00071): pairs are chosen by how often they turn over the trained length, and q and k grow.
    """

    type: Literal["linear", "ntk", "yarn"] = field(
        metadata={
            "help": "linear: all angles divided by factor; ntk: a larger base; yarn: slow pairs divided, quick ones "
            "kept, and attention sharpened"
        }
    )
    factor: float = field(
        validator=and_(gt(1.0), lt(float("inf"))), metadata={"help": "how many times the trained length is reached"}
    )
    original_max_position_embeddings: int = field(
        validator=ge(1), metadata={"help": "the trained length: max_position_embeddings of the weights to start from"}
    )
    beta_fast: float | None = field(
        default=None,
        validator=optional(_positive),
        metadata={"help": "yarn: pairs that turn more often than this over the trained length are kept; unset: 32"},
    )
    beta_slow: float | None = field(
        default=None,
        validator=optional(_positive),
        metadata={"help": "yarn: pairs that turn less often than this are divided by factor; unset: 1"},
    )
    truncate: bool | None = field(
        default=None,
        metadata={"help": "yarn: the two bounds are rounded outwards to whole pairs; unset: true"},
    )
    attention_factor: float | None = field(
        default=None,
        validator=optional(_positive),
        metadata={"help": "yarn: q and k are multiplied by it; unset: 0.1 * ln(factor) + 1"},
    )

    @property
    def reach(self) -> int:
        """Tokens of the longest sequence that the stretched angles are for."""
        return round(self.factor * self.original_max_position_embeddings)

    @property
    def rotations(self) -> tuple[float, float]:
        """Of YaRN: ``beta_fast`` and ``beta_slow``, as published where they are unset."""
        return self.beta_fast or 32.0, self.beta_slow or 1.0

    @property
    def whole_pairs(self) -> bool:
        """Of YaRN: ``truncate``, as published where it is unset."""
        return self.truncate is not False

    @property
    def on_q_and_k(self) -> float:
        """What q and k are multiplied by: 1 but for YaRN."""
        if self.type != "yarn":
            return 1.0
        return self.attention_factor or 0.1 * math.log(self.factor) + 1.0


@frozen
class Rotation:
    """How the angles of a block are made: computed from positions and this alone."""

    theta: float
    scaling: RopeScaling | None = None

    def base(self, head_dim: int) -> float:
        """What the angles are powers of: ``theta``, or the larger one of ``ntk``."""
        if self.scaling is None or self.scaling.type != "ntk":
            return self.theta
        return float(self.theta * self.scaling.factor ** (head_dim / (head_dim - 2)))

    @property
    def attention_factor(self) -> float:
        """On cosine and sine, so on q and on k."""
        return 1.0 if self.scaling is None else self.scaling.on_q_and_k


@frozen(kw_only=True)
class Positions:
    """What each block knows of places: how far it sees, and how its angles are made."""

    rope_theta: float
    rope_scaling: RopeScaling | None = None
    local_rope_theta: float | None = None
    global_every: int | None = None
    window: int | None = None

    def window_of(self, block: int) -> int | None:
        """Tokens that a block sees on each side; None for a whole sequence."""
        if self.global_every is None or block % self.global_every == 0:
            return None
        return self.window

    def rotation_of(self, block: int) -> Rotation:
        """How a block's rotary angles are made."""
        if self.local_rope_theta is not None and self.window_of(block) is not None:
            return Rotation(self.local_rope_theta)
        return Rotation(self.rope_theta, self.rope_scaling)
