"""A part of a recipe: which plugin was picked, with which options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from attrs import NOTHING, Attribute, Factory, field, frozen

from neobert.seeding import derive_seed

if TYPE_CHECKING:
    import torch

    from neobert.context import BuildContext

PART_KIND = "neobert_part_kind"
"""Metadata key of a field that holds parts: the kind it takes."""


@frozen(kw_only=True)
class Part:
    """A plugin picked by name, with its options.

    The recipe's dotted keys are attribute paths: ``recipe.dataset.max_seq_length`` (a key that the core serves),
    ``recipe.model.attn_backend.name``, ``recipe.optimizer.lr``.
    """

    kind: str
    name: str
    options: Any
    """An instance of the plugin's options class."""
    served: Any = None
    """The keys of the same table that the core serves for every plugin of the kind, or None where there are none."""
    distribution: str | None = field(default=None, eq=False)
    """Where the plugin came from; None when the part was made by hand."""

    def __getattr__(self, key: str) -> Any:
        if not key.startswith("_"):
            for holder in (self.served, self.options):
                if hasattr(holder, key):
                    return getattr(holder, key)
        msg = f"{self.kind} {self.name!r} has no key {key!r}"
        raise AttributeError(msg)

    def build(self, context: BuildContext) -> Any:
        """The runtime object. Torch is seeded from (seed, kind, name) first, so that no part's draws move another's:
        not those of the part that builds this one either, which goes on where it was.
        """
        import torch

        try:
            with torch.random.fork_rng(_cuda_devices(context.device)):
                torch.manual_seed(derive_seed(context.seed, self.kind, self.name))
                built = self.options.build(context)
        except Exception as error:
            error.add_note(f"while building {self.kind} {self.name!r} (from {self.distribution or 'no distribution'})")
            raise
        return _outside_compiled_code(built) if self.kind == "attn_backend" and not _compilable(self.options) else built


def part(kind: str, *, default: Any = NOTHING, help: str = "") -> Any:
    """A field of an options class that holds a part, or a tuple or dict of parts, of this kind.

    Annotate it ``Part``, ``tuple[Part, ...]`` or ``dict[str, Part]``. Its owner builds it:
    ``self.attn_backend.build(context)``. ``default`` is what a recipe could say: a name, or a mapping with ``name``
    and options; a tuple or a mapping of those for the other two shapes.
    """

    def convert(value: Any) -> Any:
        return _as_parts(kind, value)

    if isinstance(default, dict):
        default = Factory(default.copy)
    return field(default=default, converter=convert, metadata={PART_KIND: kind, "help": help})


def part_kind(attribute: Attribute[Any]) -> str | None:
    """The kind that a field holds parts of, or None for a field of plain values."""
    kind: str | None = attribute.metadata.get(PART_KIND)
    return kind


def _as_parts(kind: str, value: Any) -> Any:
    """Turns what a recipe could say into parts; parts stay as they are."""
    if isinstance(value, Part):
        return value
    if isinstance(value, str):
        return _make_part(kind, value, {})
    if isinstance(value, list | tuple):
        return tuple(_as_parts(kind, item) for item in value)
    if isinstance(value, Mapping) and isinstance(value.get("name"), str):
        return _make_part(kind, value["name"], {key: item for key, item in value.items() if key != "name"})
    if isinstance(value, Mapping):
        return {key: _as_parts(kind, item) for key, item in value.items()}
    msg = f"a part is a name, or a mapping with `name` and its options; got {value!r}"
    raise TypeError(msg)


def _make_part(kind: str, name: str, options: Mapping[str, Any]) -> Part:
    from neobert.registry import default_registry

    plugin = default_registry().usable(kind, name)
    return Part(kind=kind, name=name, options=plugin.options_class(**options), distribution=plugin.distribution)


def _cuda_devices(device: torch.device) -> list[torch.device]:
    """The devices besides the CPU whose generators a build may draw from."""
    return [device] if device.type == "cuda" else []


def _compilable(options: Any) -> bool:
    capabilities = getattr(options, "capabilities", None)
    return capabilities is not None and capabilities.compilable


def _outside_compiled_code(backend: Any) -> Any:
    """The backend as torch.compile must leave it: a graph break around the call, nothing traced inside."""
    import torch

    if isinstance(backend, torch.nn.Module):
        # Itself and not a module around it, which would change the names of its weights.
        backend.forward = torch.compiler.disable(backend.forward)  # type: ignore[no-untyped-call]
        return backend
    return torch.compiler.disable(backend)  # type: ignore[no-untyped-call]
