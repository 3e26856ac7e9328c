"""NeoBERT over a token stream: from ids to hidden states, with no padded position anywhere.

Shapes: T tokens in the stream, M tokens that are wanted, C hidden size, V vocabulary.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from neobert_plugins.models.block import Block, make_norm
from neobert_plugins.models.normalized import NormalizedBlock
from neobert_plugins.models.rotary import rotary_table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from neobert import FusedMatrix, SequenceLayout
    from neobert.interfaces import AttentionBackend
    from neobert_plugins.models import NeoBERT


class NeoBERTEncoder(nn.Module):
    """Parameters bear the names of the published weights.

    It says how its head is meant: ``tie_word_embeddings``, ``decoder_bias``, ``decoder_init_range``.
    """

    def __init__(self, options: NeoBERT, vocab_size: int, attend: AttentionBackend) -> None:
        super().__init__()
        self.options = options
        self.hidden_size = options.hidden_size
        self.vocab_size = vocab_size
        self.tie_word_embeddings = options.tie_word_embeddings
        self.decoder_bias = options.decoder_bias
        self.decoder_init_range = options.decoder_init_range
        self.encoder = nn.Embedding(vocab_size, options.hidden_size)
        if not options.rope:
            # Row 0 is the published layout's padding row: positions count from 1, and nothing looks row 0 up.
            self.positional_embedding = nn.Embedding(options.max_position_embeddings + 1, options.hidden_size)
        block = NormalizedBlock if options.ngpt else Block
        indices = range(options.num_hidden_layers)
        self.transformer_encoder = nn.ModuleList(block(options, attend, index) for index in indices)
        self._rotations = [options.positions.rotation_of(index) for index in indices] if options.rope else []
        self.layer_norm = nn.Identity() if options.ngpt else make_norm(options)
        self._init_weights()

    @property
    def input_embedding(self) -> nn.Embedding:
        """(V, C)."""
        return self.encoder

    @property
    def blocks(self) -> nn.ModuleList:
        """Called as ``block(hidden, rotary, layout, keep)``."""
        return self.transformer_encoder

    @property
    def fused_matrices(self) -> dict[str, FusedMatrix]:
        """How the rows of fused weights are divided, by the parameter's name here."""
        return {
            f"transformer_encoder.{index}.{name}": fused
            for index, block in enumerate(self.transformer_encoder)
            for name, fused in cast("Block | NormalizedBlock", block).fused_matrices.items()
        }

    def forward(self, input_ids: Tensor, layout: SequenceLayout, keep: Tensor | None = None) -> Tensor:
        """input_ids (T,) -> (T, C), or (M, C) with ``keep`` (M,), rows in its order.

        Past the last block's attention only the kept positions are computed: exact, and cheaper.
        """
        self._check_length(layout)
        hidden_TC = self.encoder(input_ids)
        if not self.options.rope:
            hidden_TC = hidden_TC + self.positional_embedding(layout.position_ids + 1)
        *earlier, last = self.transformer_encoder
        *tables, table = self._rotary_tables(layout.position_ids, hidden_TC.dtype)
        for block, rotary in zip(earlier, tables, strict=True):
            hidden_TC = block(hidden_TC, rotary, layout)
        hidden = last(hidden_TC, table, layout, keep)
        return cast(Tensor, self.layer_norm(hidden))

    @property
    def native_obstacles(self) -> tuple[str, ...]:
        """What keeps this model from being a native architecture of transformers; empty when nothing does."""
        from neobert_plugins.models.layouts import native_obstacles

        return native_obstacles(self.options)

    def export(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """A ``config.json`` and the encoder's tensors, without prefix and without a head.

        EuroBERT's layout (UltraBERT's with windows) where `native_obstacles` is empty, else that of the published
        NeoBERT weights.
        """
        from neobert_plugins.models.layouts import export_native

        if self.native_obstacles:
            return self.export_published()
        return export_native(self.options, self.vocab_size, self.state_dict())

    def export_published(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The same in the layout of the published NeoBERT weights, which takes any head."""
        from neobert_plugins.models.layouts import export_published

        return export_published(self.options, self.vocab_size, self.state_dict())

    @property
    def telling_lengths(self) -> tuple[int, ...]:
        """Sequence lengths at which other windows or angles would show: past a window, past the trained length."""
        window, scaling = self.options.window, self.options.rope_scaling
        lengths = [2 * window + 2] if window is not None else []
        if scaling is not None:
            lengths.append(scaling.original_max_position_embeddings + 1)
        return tuple(min(length, self.options.max_position_embeddings) for length in lengths)

    def import_weights(
        self, tensors: Mapping[str, Tensor], config: Mapping[str, Any]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor], list[str]]:
        """Foreign tensors -> the encoder's own, the head's (``weight``, ``bias``), and notes for a person.

        Reads the published NeoBERT layout (``w12``, or ``w1`` and ``w2``) and EuroBERT's, with or without
        ``model.`` before the names. What it doesn't know keeps its name, for the caller to refuse. Raises
        UserError where ``config`` (empty when unknown) describes another model.
        """
        from neobert_plugins.models.imports import import_weights

        return import_weights(self.options, self.vocab_size, tensors, config)

    def _rotary_tables(self, position_ids: Tensor, dtype: torch.dtype) -> list[Tensor] | list[None]:
        """One a block, each made once; None for a model whose positions are learned."""
        if not self.options.rope:
            return [None] * self.options.num_hidden_layers
        tables = {
            rotation: rotary_table(position_ids, self.options.head_dim, rotation, dtype)
            for rotation in dict.fromkeys(self._rotations)
        }
        return [tables[rotation] for rotation in self._rotations]

    def _check_length(self, layout: SequenceLayout) -> None:
        if layout.max_seqlen > self.options.max_position_embeddings:
            msg = (
                f"a sequence of {layout.max_seqlen} tokens is over model.max_position_embeddings = "
                f"{self.options.max_position_embeddings}"
            )
            raise ValueError(msg)

    def _init_weights(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                reach = self.options.decoder_init_range
            elif isinstance(module, nn.Embedding):
                reach = self.options.embedding_init_range
            else:
                continue
            nn.init.uniform_(module.weight, -reach, reach)
        if self.options.ngpt:
            deviation = self.options.base_scale / math.sqrt(2 * self.options.num_hidden_layers)
            for block in self.transformer_encoder:
                nn.init.normal_(block.get_parameter("mlp_c_proj.weight"), std=deviation)
