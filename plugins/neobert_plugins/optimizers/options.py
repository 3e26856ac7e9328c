"""Options of the optimizers. Light: torch is imported when one is built."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from attrs import field, frozen
from attrs.validators import and_, deep_iterable, ge, gt, lt, max_len, min_len, optional

if TYPE_CHECKING:
    import torch

    from neobert import BuildContext

_BELOW_ONE = and_(ge(0.0), lt(1.0))


def _learning_rate(default: float, help: str) -> Any:
    return field(default=default, validator=ge(0.0), metadata={"help": help})


def _betas(help: str) -> Any:
    pair = deep_iterable(_BELOW_ONE, and_(min_len(2), max_len(2)))  # type: ignore[var-annotated]
    return field(default=(0.9, 0.95), validator=pair, metadata={"help": help})


def _eps() -> Any:
    return field(default=1e-8, validator=gt(0.0), metadata={"help": "added to the root of Adam's second moment"})


def _weight_decay(default: float, help: str) -> Any:
    return field(default=default, validator=ge(0.0), metadata={"help": help})


@frozen(kw_only=True)
class AdamW:
    """AdamW (Loshchilov & Hutter 2019), with decay on weights of two or more dimensions."""

    shards: ClassVar[bool] = True
    lr: float = _learning_rate(6e-4, "base learning rate")
    betas: tuple[float, float] = _betas("decay rates of the two moments")
    eps: float = _eps()
    weight_decay: float = _weight_decay(0.1, "share of a weight taken off per unit of learning rate")

    def build(self, context: BuildContext) -> torch.optim.Optimizer:
        """`torch.optim.AdamW` with a group for each of the context's, fused where torch can."""
        import torch

        from neobert_plugins.optimizers.groups import as_torch_groups, can_fuse

        groups = as_torch_groups(context.parameter_groups, self.weight_decay)
        fused = can_fuse(context.parameter_groups)
        return torch.optim.AdamW(groups, lr=self.lr, betas=self.betas, eps=self.eps, fused=fused)


@frozen(kw_only=True)
class StableAdamW:
    """AdamW whose step for a tensor shrinks when its gradient outgrows its past (Wortsman et al. 2023)."""

    shards: ClassVar[bool] = True
    lr: float = _learning_rate(6e-4, "base learning rate")
    betas: tuple[float, float] = _betas("decay rates of the two moments")
    eps: float = _eps()
    weight_decay: float = _weight_decay(
        0.1, "share of a weight taken off per unit of the learning rate as it is shrunk"
    )

    def build(self, context: BuildContext) -> torch.optim.Optimizer:
        """A group for each of the context's."""
        from neobert_plugins.optimizers import stable_adamw
        from neobert_plugins.optimizers.groups import as_torch_groups

        groups = as_torch_groups(context.parameter_groups, self.weight_decay)
        return stable_adamw.StableAdamW(groups, lr=self.lr, betas=self.betas, eps=self.eps)


@frozen(kw_only=True)
class Adam:
    """Adam (Kingma & Ba 2015), without any weight decay."""

    shards: ClassVar[bool] = True
    lr: float = _learning_rate(6e-4, "base learning rate")
    betas: tuple[float, float] = _betas("decay rates of the two moments")
    eps: float = _eps()

    def build(self, context: BuildContext) -> torch.optim.Optimizer:
        """`torch.optim.Adam` with a group for each of the context's, fused where torch can."""
        import torch

        from neobert_plugins.optimizers.groups import as_torch_groups, can_fuse

        groups = as_torch_groups(context.parameter_groups, 0.0)
        fused = can_fuse(context.parameter_groups)
        return torch.optim.Adam(groups, lr=self.lr, betas=self.betas, eps=self.eps, fused=fused)


@frozen(kw_only=True)
class Muon:
    """Muon (Jordan et al. 2024) for the 2-D weights of the blocks, AdamW for everything else."""

    shards: ClassVar[bool] = True
    lr: float = _learning_rate(0.02, "base learning rate of the blocks' matrices; see adjust_lr_fn")
    adjust_lr_fn: Literal["original", "match_rms_adamw"] = field(
        default="original",
        metadata={
            "help": "lr of a (rows, columns) matrix, apart from what it is fused with: `original` times "
            "max(1, rows/columns)**0.5, `match_rms_adamw` times 0.2 * max(rows, columns)**0.5, which gives its update "
            "the RMS that AdamW's has: take AdamW's lr"
        },
    )
    momentum: float = field(default=0.95, validator=_BELOW_ONE, metadata={"help": "decay rate of the momentum"})
    nesterov: bool = field(default=True, metadata={"help": "look ahead along the momentum"})
    ns_steps: int = field(
        default=5,
        validator=and_(ge(1), lt(100)),
        metadata={"help": "Newton-Schulz steps towards orthogonality"},
    )
    ns_dtype: Literal["auto", "float32", "bfloat16"] = field(
        default="auto",
        metadata={"help": "dtype of those steps; auto: bfloat16 where the hardware has it, else float32"},
    )
    split_fused: bool = field(
        default=True,
        metadata={
            "help": "matrices that the model holds fused in one (query, key, value; gate, up) are made orthogonal "
            "apart; false takes each weight as one matrix"
        },
    )
    clip_attention_logits: float | None = field(
        default=None,
        validator=optional(gt(0.0)),
        metadata={
            "help": "MuonClip: after an update, a head whose largest |attention logit| of the step was over this has "
            "its queries and keys scaled down to it; Kimi K2 has 100. Unset: nothing is measured"
        },
    )
    weight_decay: float = _weight_decay(
        0.01, "share of a weight taken off per unit of learning rate, matrices and the others alike"
    )
    adamw_lr: float = _learning_rate(3e-3, "base learning rate of embedding, head and vectors")
    betas: tuple[float, float] = _betas("decay rates of AdamW's two moments")
    eps: float = _eps()

    def build(self, context: BuildContext) -> torch.optim.Optimizer:
        """One optimizer to the loop: groups of role ``matrix`` get Muon's update, the rest AdamW's."""
        from neobert_plugins.optimizers.attention_logits import make_clipping
        from neobert_plugins.optimizers.fused import fused_parameters
        from neobert_plugins.optimizers.groups import as_torch_groups, can_fuse
        from neobert_plugins.optimizers.muon import MuonWithAdamW

        threshold = self.clip_attention_logits
        groups = context.parameter_groups
        matrices = tuple(group for group in groups if group.role == "matrix")
        others = tuple(group for group in groups if group.role != "matrix")
        muon = {
            "lr": self.lr,
            "adjust_lr_fn": self.adjust_lr_fn,
            "momentum": self.momentum,
            "nesterov": self.nesterov,
            "ns_steps": self.ns_steps,
            "ns_dtype": None if self.ns_dtype == "auto" else self.ns_dtype,
        }
        return MuonWithAdamW(
            [{**group, **muon} for group in as_torch_groups(matrices, self.weight_decay)],
            as_torch_groups(others, self.weight_decay),
            adamw_lr=self.adamw_lr,
            betas=self.betas,
            eps=self.eps,
            fused=can_fuse(others),
            parts=fused_parameters(context) if self.split_fused else None,
            clipping=None if threshold is None else make_clipping(context, threshold),
        )

    def check(self, recipe: Any) -> list[str]:
        """What is known without building the model."""
        if self.clip_attention_logits is None:
            return []
        problems = []
        if getattr(recipe.model.options, "ngpt", False):
            problems.append(
                "clip_attention_logits: model.ngpt = true brings queries and keys to a length of their own, so scaling "
                "their rows would change no logit; leave it out"
            )
        if recipe.trainer.strategy == "fsdp":
            problems.append(
                'clip_attention_logits: not with trainer.strategy = "fsdp": a head\'s rows may lie on several '
                'processes; leave it out, or take trainer.strategy = "ddp"'
            )
        return problems
