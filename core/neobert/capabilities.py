"""What an attention backend says it can do, so that a recipe is checked before anything is built."""

from __future__ import annotations

from attrs import frozen


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
