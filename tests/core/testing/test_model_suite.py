"""check_model passes a plain encoder and notices each way of being wrong."""

from __future__ import annotations

import pytest
import torch
from attrs import field, frozen
from torch import nn

from neobert import FusedMatrix, SequenceLayout
from neobert.testing import TinyEncoder, check_model


@frozen
class Options:
    """Options of an encoder of the given class."""

    kind: type = field(default=TinyEncoder)

    def build(self, context):
        return self.kind(context.vocab_size, seed=context.seed)


class SeesOtherSequences(TinyEncoder):
    def forward(self, input_ids, layout, keep=None):
        hidden = super().forward(input_ids, layout, keep)
        return hidden + 1e-4 * self.input_embedding(input_ids).mean(0)


class MergesSequences(TinyEncoder):
    def forward(self, input_ids, layout, keep=None):
        return super().forward(input_ids, SequenceLayout.from_lengths([len(input_ids)]), keep)


class SortsKeep(TinyEncoder):
    def forward(self, input_ids, layout, keep=None):
        return super().forward(input_ids, layout, None if keep is None else keep.sort().values)


class KeepsBeforeMixing(TinyEncoder):
    """Drops what is not wanted from the last block's input too, where others still need it."""

    def forward(self, input_ids, layout, keep=None):
        if keep is None:
            return super().forward(input_ids, layout)
        hidden = self.input_embedding(input_ids)
        hidden = self.blocks[0](hidden, layout)
        wanted = torch.zeros(len(hidden), 1).double()
        wanted[keep] = 1.0
        return (self.blocks[1](hidden * wanted, layout) * self.scale)[keep]


class IgnoresKeep(TinyEncoder):
    def forward(self, input_ids, layout, keep=None):
        return super().forward(input_ids, layout)


class RandomInEval(TinyEncoder):
    def forward(self, input_ids, layout, keep=None):
        hidden = super().forward(input_ids, layout, keep)
        return hidden + 1e-6 * torch.randn_like(hidden)


class OwnDropoutGenerator(TinyEncoder):
    def forward(self, input_ids, layout, keep=None):
        hidden = super().forward(input_ids, layout, keep)
        if self.training:
            generator = torch.Generator()
            generator.seed()
            hidden = hidden * (torch.rand(hidden.shape, generator=generator) > 0.2)
        return hidden


class HalfTheGradient(TinyEncoder):
    """The gradient depends on how many sequences there are."""

    def forward(self, input_ids, layout, keep=None):
        hidden = super().forward(input_ids, layout, keep)
        return hidden.detach() + (hidden - hidden.detach()) / layout.num_sequences


class HiddenState(TinyEncoder):
    """A weight that no state dict holds."""

    def __init__(self, *args, seed=0, **keywords):
        super().__init__(*args, seed=seed, **keywords)
        self.offset = torch.randn(self.hidden_size, generator=torch.Generator().manual_seed(seed)).double()

    def forward(self, input_ids, layout, keep=None):
        return super().forward(input_ids, layout, keep) + self.offset


class UnusedParameter(TinyEncoder):
    def __init__(self, *args, **keywords):
        super().__init__(*args, **keywords)
        self.unused = nn.Parameter(torch.ones(3).double())


class WrongVocabulary(TinyEncoder):
    def __init__(self, vocab_size, **keywords):
        super().__init__(vocab_size + 8, **keywords)


class NoBlocks(TinyEncoder):
    def __init__(self, *args, **keywords):
        super().__init__(*args, **keywords)
        blocks = list(self.blocks)
        del self.blocks
        object.__setattr__(self, "blocks", blocks)


class NotFiniteAlone(TinyEncoder):
    def forward(self, input_ids, layout, keep=None):
        parts = super().forward(input_ids, layout).split(layout.lengths)
        hidden = torch.cat([(part - part.mean(0)) / (part - part.mean(0)).norm() for part in parts])
        return hidden if keep is None else hidden[keep]


class BadExport(TinyEncoder):
    def export(self):
        return {"hidden_size": self.hidden_size}, {"w": "not a tensor"}


class ExportWrites(TinyEncoder):
    def export(self):
        with torch.no_grad():
            self.scale.zero_()
        return {}, dict(self.state_dict())


class SeededElsewhere(TinyEncoder):
    def __init__(self, *args, seed=0, **keywords):
        super().__init__(*args, seed=torch.Generator().seed() % 2**31, **keywords)


class FusesNothing(TinyEncoder):
    fused_matrices = {"blocks.0.qkv.weight": FusedMatrix(("query", "key", "value"))}


class FusesUnequally(TinyEncoder):
    fused_matrices = {"blocks.0.linear.weight": FusedMatrix(("query", "key", "value"))}


BROKEN = {
    SeesOtherSequences: "packed and alone",
    MergesSequences: "packed and alone",
    SortsKeep: "in keep's order",
    KeepsBeforeMixing: "in keep's order",
    IgnoresKeep: "in keep's order",
    RandomInEval: "in eval mode",
    OwnDropoutGenerator: "in train mode",
    HalfTheGradient: "gradient of packed sequences",
    HiddenState: "loads another's state_dict",
    UnusedParameter: "every trainable parameter takes part",
    WrongVocabulary: "vocab_size is the context's",
    NoBlocks: "`blocks`",
    FusesNothing: "`fused_matrices` is a mapping of the encoder's parameter names",
    FusesUnequally: "the parts of a fused matrix have equally many rows",
    NotFiniteAlone: "hidden states are finite",
    BadExport: "export gives",
    ExportWrites: "export leaves the weights",
    SeededElsewhere: "same seed gives the same weights",
}


def test_a_plain_encoder_passes():
    check_model(Options())
    check_model(Options)


@pytest.mark.parametrize("kind", BROKEN, ids=lambda kind: kind.__name__)
def test_a_broken_encoder_is_noticed(kind, notices):
    notices(check_model, Options(kind), BROKEN[kind])
