"""Options of every kind, as somebody would write them who knows nothing but the contract."""

from __future__ import annotations

from typing import ClassVar

from attrs import field, frozen
from attrs.validators import ge

from neobert import Capabilities, Part, hookimpl, part


@frozen(kw_only=True)
class LoopAttention:
    """Attention as a plain function, one sequence after the other."""

    capabilities: ClassVar[Capabilities] = Capabilities(window=True)

    def build(self, context):
        from stranger_parts import attend

        return attend


@frozen(kw_only=True)
class GatedAttention:
    """Attention with a weight of its own."""

    capabilities: ClassVar[Capabilities] = Capabilities(exact=False)

    def build(self, context):
        from stranger_parts import Gated

        return Gated()


@frozen(kw_only=True)
class WrappingAttention:
    """Hands every call on to another backend."""

    inner: Part = part("attn_backend", default="stranger_loop", help="the other backend")

    def build(self, context):
        from stranger_parts import Wrapping

        return Wrapping(self.inner.build(context))


@frozen(kw_only=True)
class SmallModel:
    """An encoder with the named attributes and nothing more."""

    width: int = field(default=16, validator=ge(2))
    attention: tuple[Part, ...] = part("attn_backend", default=("stranger_loop", "sdpa"), help="a backend a block")

    def build(self, context):
        from stranger_parts import Small

        return Small(self, context)


@frozen(kw_only=True)
class HalfExported(SmallModel):
    """The same with an ``export`` to no architecture that anybody knows."""

    def build(self, context):
        from stranger_parts import HalfExported

        return HalfExported(self, context)


@frozen(kw_only=True)
class Words:
    """A vocabulary of whole words."""

    mask: bool = True

    def build(self, context):
        from stranger_parts import make_tokenizer

        return make_tokenizer(self, context)


@frozen(kw_only=True)
class Counting:
    """Numbers, counted up in words."""

    columns: tuple[str, ...] = ("text",)

    def build(self, context):
        from stranger_parts import make_rows

        return make_rows(self, context)


@frozen(kw_only=True)
class EveryThird:
    """Masks every third token from a drawn start; sequences get a label too."""

    def build(self, context):
        from stranger_parts import make_collator

        return make_collator(context)


@frozen(kw_only=True)
class HeadLoss:
    """Cross entropy through a head of its own."""

    def build(self, context):
        from stranger_parts import Head

        return Head(context)


@frozen(kw_only=True)
class LengthLoss:
    """Tells odd from even lengths by a sequence's mean: a loss without a vocabulary."""

    def build(self, context):
        from stranger_parts import Parity

        return Parity(context)


@frozen(kw_only=True)
class SumLoss:
    """A loss and others by name, added."""

    main: Part = part("loss", default="stranger_head")
    others: dict[str, Part] = part("loss", default={"parity": "stranger_parity"})

    def build(self, context):
        from stranger_parts import Sum

        return Sum(self.main.build(context), {name: other.build(context) for name, other in self.others.items()})


@frozen(kw_only=True)
class PlainSGD:
    """Torch's own."""

    lr: float = 0.1

    def build(self, context):
        import torch

        groups = [
            {"params": list(g.parameters.values()), "weight_decay": 0.1 * g.decay} for g in context.parameter_groups
        ]
        return torch.optim.SGD(groups, lr=self.lr, momentum=0.9)


@frozen(kw_only=True)
class Restless:
    """Keeps state in its groups, adds to them later, and has moments wider than the weights."""

    lr: float = 0.1

    def build(self, context):
        from stranger_parts import Restless

        return Restless([p for g in context.parameter_groups for p in g.parameters.values()], self.lr)


@frozen(kw_only=True)
class Halving:
    """A half of it every so many steps."""

    steps: int = 3

    def build(self, context):
        return lambda step: 0.5 ** (step / self.steps)


@frozen(kw_only=True)
class NumpyFiles:
    """An archive of arrays, and JSON in the order of the state."""

    def build(self, context):
        from stranger_parts import NumpyFiles

        return NumpyFiles()


@frozen(kw_only=True)
class Lines:
    """A line of JSON a step."""

    def build(self, context):
        from stranger_parts import Lines

        return Lines(context.run_directory / "lines.jsonl")


@hookimpl
def neobert_attn_backends():
    return {"stranger_loop": LoopAttention, "stranger_gated": GatedAttention, "stranger_wrapping": WrappingAttention}


@hookimpl
def neobert_models():
    return {"stranger": SmallModel, "stranger_exported": HalfExported}


@hookimpl
def neobert_tokenizers():
    return {"stranger": Words}


@hookimpl
def neobert_datasets():
    return {"stranger": Counting}


@hookimpl
def neobert_datacollators():
    return {"stranger": EveryThird}


@hookimpl
def neobert_losses():
    return {"stranger_head": HeadLoss, "stranger_parity": LengthLoss, "stranger_sum": SumLoss}


@hookimpl
def neobert_optimizers():
    return {"stranger": PlainSGD, "stranger_restless": Restless}


@hookimpl
def neobert_schedulers():
    return {"stranger": Halving}


@hookimpl
def neobert_checkpointers():
    return {"stranger": NumpyFiles}


@hookimpl
def neobert_trackers():
    return {"stranger": Lines}
