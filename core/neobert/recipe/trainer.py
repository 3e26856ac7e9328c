"""The ``[trainer]`` table: how a run goes, whatever its parts."""

from __future__ import annotations

from typing import Literal

from attrs import field, frozen
from attrs.validators import ge, gt, min_len, optional

from neobert.parts import Part, part


@frozen(kw_only=True)
class TrainerOptions:
    """How a run goes: length, batch, precision, when to log, evaluate and save."""

    output_dir: str = field(
        default="runs/neobert", validator=min_len(1), metadata={"help": "the run's folder", "path": True}
    )
    seed: int = field(default=42, validator=ge(0), metadata={"help": "fixes data order, masks, weights and dropout"})
    max_steps: int = field(default=1000, validator=ge(1), metadata={"help": "optimiser updates of the whole run"})
    per_device_train_batch_size: int = field(
        default=8,
        validator=ge(1),
        metadata={"help": "sequences a micro-batch; packed: times max_seq_length tokens"},
    )
    per_device_eval_batch_size: int = field(
        default=8, validator=ge(1), metadata={"help": "the same for evaluation batches"}
    )
    gradient_accumulation_steps: int = field(
        default=1, validator=ge(1), metadata={"help": "micro-batches a step, on each rank"}
    )
    enforce_full_packed_batches: bool = field(
        default=True,
        metadata={"help": "packed: carry a window's remainder on; false trains it as a short batch"},
    )
    gradient_clipping: float | None = field(
        default=None,
        validator=optional(gt(0.0)),
        metadata={"help": "largest global gradient norm; unset: no clipping"},
    )
    on_nonfinite_gradient: Literal["stop", "skip"] = field(
        default="stop", metadata={"help": "what a step with a NaN or infinite loss or gradient does"}
    )
    gradient_checkpointing: bool = field(
        default=False, metadata={"help": "recompute each block in the backward pass: less memory, more time"}
    )
    mixed_precision: Literal["no", "fp32", "bf16"] = field(
        default="no",
        metadata={
            "help": "bf16 runs matrix products under autocast; no and fp32 are the same",
            "refused": {"fp16": "fp16 is not offered: bf16 has the range of fp32 and needs no loss scaling"},
        },
    )
    torch_compile: bool = field(
        default=False,
        metadata={"help": "compile the repeated block once (on a CPU this needs a C++ compiler)"},
    )
    use_cpu: bool = field(default=False, metadata={"help": "stay on the CPU although there is a GPU"})
    num_threads: int | None = field(
        default=None,
        validator=optional(ge(1)),
        metadata={"help": "CPU threads of the loop; unset: one a core. Another number gives other bits"},
    )
    eval_steps: int | None = field(
        default=None,
        validator=optional(ge(1)),
        metadata={"help": "evaluate every so many steps; unset: at the ends"},
    )
    eval_max_batches: int | None = field(
        default=None, validator=optional(ge(1)), metadata={"help": "batches of an evaluation; unset: all"}
    )
    save_steps: int | None = field(
        default=None,
        validator=optional(ge(1)),
        metadata={"help": "save every so many steps; unset: at the end"},
    )
    save_total_limit: int | None = field(
        default=None, validator=optional(ge(1)), metadata={"help": "newest checkpoints to keep; unset: all"}
    )
    logging_steps: int = field(default=10, validator=ge(1), metadata={"help": "log every so many steps"})
    log_train_accuracy: bool = field(
        default=False,
        metadata={"help": "log the share of masked tokens guessed right (costs a forward pass a log)"},
    )
    log_grad_norm: bool = field(default=True, metadata={"help": "log the gradient norm before clipping"})
    log_weight_norms: bool = field(default=False, metadata={"help": "log the norm of each group of weights"})
    resume_from_checkpoint: str | int | None = field(
        default=None,
        metadata={
            "help": "`latest`, a step or a checkpoint's path: go on from there, bit for bit",
            "path": True,
            "words": ("latest",),
        },
    )
    allow_changes: tuple[str, ...] = field(
        default=(),
        metadata={"help": "dotted keys or tables whose change on resuming is meant, though it changes the past"},
    )
    export_attn_backend: Part = part("attn_backend", help="the backend that an export's outputs are compared under")
