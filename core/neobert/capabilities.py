"""What an attention backend says it can do, so that a recipe is checked before anything is built."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch


@frozen(kw_only=True)
class Capabilities:
    """Stated by an attention backend's options class as ``capabilities: ClassVar[Capabilities]``.

    A class that says nothing has these defaults.
    """

    devices: tuple[str, ...] = ("cpu", "cuda", "mps")
    """Device types that the forward pass runs on."""
    train_devices: tuple[str, ...] = ("cpu", "cuda", "mps")
    """Device types that the backward pass runs on."""
    dtypes: tuple[str, ...] = ("float32", "bfloat16", "float64")
    """Dtypes of q, k and v."""
    window: bool = False
    """Takes ``window``: tokens seen on each side."""
    dropout: bool = False
    """Takes ``dropout_p > 0``."""
    exact: bool = True
    """Computes plain softmax attention; anything else is said in an export."""
    compilable: bool = False
    """May be traced by torch.compile; otherwise it is called outside compiled code."""
    head_dims: range | None = None
    """Head dims that it takes, such as ``range(8, 257, 8)``; None: any."""
    cuda_capability: tuple[int, int] = (0, 0)
    """The lowest compute capability of a CUDA device that its kernels run on, such as ``(8, 0)``."""

    def unfit(self, target: Target) -> Iterator[str]:
        """Why it cannot be trained there, a sentence each; nothing where it can."""
        if target.device not in self.devices:
            yield f"runs on {', '.join(self.devices)}, and this run is on {target.device}"
            return
        if target.device not in self.train_devices:
            yield f"trains on {', '.join(self.train_devices)}, and this run is on {target.device}"
        elif target.cuda_capability is not None and target.cuda_capability < self.cuda_capability:
            wanted, found = (".".join(map(str, pair)) for pair in (self.cuda_capability, target.cuda_capability))
            yield f"needs a CUDA device of compute capability {wanted}, and this one has {found}"
        if target.dtype not in self.dtypes:
            yield f"computes in {', '.join(self.dtypes)}; trainer.mixed_precision asks for {target.dtype}"

    def lacking(self, needs: AttentionNeeds) -> Iterator[str]:
        """What a model needs and it does not have, a sentence each."""
        if needs.window is not None and not self.window:
            yield f"has no window, and the model's is {needs.window}"
        if needs.dropout_p > 0 and not self.dropout:
            yield f"has no dropout, and the model's is {needs.dropout_p}"
        if needs.head_dim is not None and self.head_dims is not None and needs.head_dim not in self.head_dims:
            yield f"takes {_in_words(self.head_dims)}, and the model's is {needs.head_dim}"


@frozen(kw_only=True)
class Target:
    """Where attention is to be trained: what a recipe and a machine come to."""

    device: str
    """Its type: ``cpu``, ``cuda``, ``mps``."""
    dtype: str = "float32"
    """Of q, k and v: ``bfloat16`` under ``trainer.mixed_precision = "bf16"``."""
    cuda_capability: tuple[int, int] | None = None
    """Compute capability of the CUDA device; None elsewhere, or where it is not known."""

    @classmethod
    def of(cls, device: torch.device, dtype: str) -> Target:
        """The target that a device of this machine is."""
        import torch

        capability = torch.cuda.get_device_capability(device) if device.type == "cuda" else None
        return cls(device=device.type, dtype=dtype, cuda_capability=capability)


@frozen(kw_only=True)
class AttentionNeeds:
    """What a model asks of its attention backend, returned by an optional method ``attention_needs(self)`` of its
    options, so that a backend that cannot do it is refused before anything is built.
    """

    window: int | None = None
    dropout_p: float = 0.0
    head_dim: int | None = None


@frozen(kw_only=True)
class Choice:
    """What an attention backend that only chooses has chosen, returned by an optional method
    ``choose(self, target: Target) -> Choice`` of its options.
    """

    name: str
    options: Any
    """Those of the backend that does the work."""
    why: str


def capabilities_of(options: Any, target: Target | None = None) -> Capabilities:
    """What an attention backend's options state; of one that chooses, what it would choose for ``target`` states."""
    choose = getattr(options, "choose", None)
    if target is not None and choose is not None:
        return capabilities_of(choose(target).options, target)
    stated: Capabilities | None = getattr(options, "capabilities", None)
    return stated or Capabilities()


def _in_words(dims: range) -> str:
    which = f" that are multiples of {dims.step}" if dims.step > 1 else ""
    return f"head dims{which} from {dims[0]} to {dims[-1]}"
