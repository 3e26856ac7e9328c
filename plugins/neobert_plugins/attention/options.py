"""What a recipe's ``attn_backend`` may name: one options class a kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from attrs import evolve, field, frozen
from attrs.validators import in_

from neobert import BuildContext, Capabilities

if TYPE_CHECKING:
    from neobert.interfaces import AttentionBackend

_FLASH = Capabilities(devices=("cuda",), train_devices=("cuda",), dtypes=("bfloat16", "float16"), window=True)
"""What all generations of the flash kernels have in common."""
_AMPERE = (8, 0)
_HOPPER = (9, 0)


@frozen(kw_only=True)
class SdpaAttention:
    """torch's scaled_dot_product_attention, one call for each run of equally long sequences; any device."""

    capabilities: ClassVar[Capabilities] = Capabilities(window=True, dropout=True)

    def build(self, context: BuildContext) -> AttentionBackend:
        from neobert_plugins.attention.sdpa import attend

        return attend


@frozen(kw_only=True)
class EagerAttention:
    """Plain softmax attention, one sequence at a time: the reference that others are compared with."""

    capabilities: ClassVar[Capabilities] = Capabilities(window=True, dropout=True)

    def build(self, context: BuildContext) -> AttentionBackend:
        from neobert_plugins.attention.eager import attend

        return attend


@frozen(kw_only=True)
class VarlenAttention:
    """torch's own flash attention over a token stream (torch.nn.attention.varlen); CUDA, bf16, nothing to install."""

    requires: ClassVar[tuple[str, ...]] = ("torch>=2.12",)
    capabilities: ClassVar[Capabilities] = evolve(_FLASH, head_dims=range(8, 257, 8), cuda_capability=_AMPERE)

    def build(self, context: BuildContext) -> AttentionBackend:
        from torch.nn.attention.varlen import varlen_attn

        from neobert_plugins.attention.varlen import attend_with

        return attend_with(varlen_attn)


@frozen(kw_only=True)
class FlashAttention:
    """The flash-attn package's kernels over a token stream; CUDA, bf16."""

    requires: ClassVar[tuple[str, ...]] = ("flash-attn>=2.7",)
    capabilities: ClassVar[Capabilities] = evolve(
        _FLASH, dropout=True, head_dims=range(1, 257), cuda_capability=_AMPERE
    )
    module: ClassVar[str] = "flash_attn"
    """Where ``flash_attn_varlen_func`` is found."""

    deterministic: bool = field(
        default=True,
        metadata={
            "help": "the backward pass gives the same bits each time, as going on bit for bit needs; false is quicker"
        },
    )

    def build(self, context: BuildContext) -> AttentionBackend:
        from importlib import import_module

        from neobert_plugins.attention.flash import attend_with

        kernel = import_module(self.module).flash_attn_varlen_func
        return attend_with(kernel, deterministic=self.deterministic, dropout=self.capabilities.dropout)


@frozen(kw_only=True)
class FlashAttention3(FlashAttention):
    """FlashAttention 3 over a token stream; CUDA from Hopper on, bf16."""

    # On no package index: built from its source.
    requires: ClassVar[tuple[str, ...]] = (
        "flash-attn-3 @ git+https://github.com/Dao-AILab/flash-attention#subdirectory=hopper",
    )
    capabilities: ClassVar[Capabilities] = evolve(_FLASH, head_dims=range(8, 257, 8), cuda_capability=_HOPPER)
    module: ClassVar[str] = "flash_attn_interface"


@frozen(kw_only=True)
class FlashAttention4(FlashAttention):
    """FlashAttention 4 over a token stream; CUDA from Hopper on, bf16."""

    requires: ClassVar[tuple[str, ...]] = ("flash-attn-4>=4.0.0b1",)
    capabilities: ClassVar[Capabilities] = evolve(_FLASH, head_dims=range(8, 129, 8), cuda_capability=_HOPPER)
    module: ClassVar[str] = "flash_attn.cute"


@frozen(kw_only=True)
class FlexAttention:
    """torch's compiled flex_attention with a mask of blocks over the stream; trains on CUDA, forward on CPU too."""

    capabilities: ClassVar[Capabilities] = Capabilities(
        devices=("cpu", "cuda"),
        train_devices=("cuda",),
        dtypes=("float32", "bfloat16"),
        window=True,
        head_dims=range(16, 257),
    )

    block_size: int = field(
        default=128,
        validator=in_((64, 128, 256)),
        metadata={"help": "tokens on each side of a block; blocks in which nobody sees anybody are skipped"},
    )

    def build(self, context: BuildContext) -> AttentionBackend:
        from neobert_plugins.attention.flex import FlexAttend

        return FlexAttend(self.block_size)
