"""The ``[trainer]`` table: how a run goes, whatever its parts."""

from __future__ import annotations

from itertools import pairwise
from math import inf
from typing import Literal

from attrs import field, frozen
from attrs.validators import and_, ge, gt, lt, min_len, optional

from neobert.parts import Part, part
from neobert.recipe.stability import EmaOptions, GuardOptions


def _ascending(instance: object, attribute: object, value: tuple[int, ...]) -> None:
    if any(edge < 1 for edge in value) or any(one >= other for one, other in pairwise(value)):
        msg = "expected a list of ascending ints, each >= 1, such as [512, 1024, 2048]"
        raise ValueError(msg)


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
        metadata={"help": "sequences, or examples, a micro-batch; packed: times max_seq_length tokens"},
    )
    per_device_eval_batch_size: int = field(
        default=8, validator=ge(1), metadata={"help": "the same for evaluation batches"}
    )
    gradient_accumulation_steps: int = field(
        default=1, validator=ge(1), metadata={"help": "micro-batches a step, on each rank"}
    )
    batch_size_warmup_steps: int | None = field(
        default=None,
        validator=optional(ge(1)),
        metadata={
            "help": "steps over which the micro-batches of a step grow to gradient_accumulation_steps; unset: none"
        },
    )
    batch_size_warmup_start: int | None = field(
        default=None,
        validator=optional(ge(1)),
        metadata={"help": "with batch_size_warmup_steps: micro-batches of step 0, on each rank; unset: 1"},
    )
    length_warmup_steps: int | None = field(
        default=None,
        validator=optional(ge(1)),
        metadata={
            "help": "steps over which training sequences, cut into pieces, grow to dataset.max_seq_length; unset: none"
        },
    )
    length_warmup_start: int | None = field(
        default=None,
        validator=optional(ge(3)),
        metadata={"help": "with length_warmup_steps: tokens of a piece at step 0, at most; unset: 128"},
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
    guard: GuardOptions = field(
        factory=GuardOptions, metadata={"help": "what becomes of a step that goes wrong (docs/stability.md)"}
    )
    ema: EmaOptions | None = field(
        default=None, metadata={"help": "a moving average of the weights; unset: none is kept (docs/stability.md)"}
    )
    gradient_checkpointing: bool = field(
        default=False, metadata={"help": "recompute each block in the backward pass: less memory, more time"}
    )
    gradient_checkpointing_every: int | None = field(
        default=None,
        validator=optional(ge(1)),
        metadata={"help": "with gradient_checkpointing: recompute every so manieth block only; unset: all, as 1"},
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
        metadata={"help": "compile the repeated block once (on a CPU, inductor needs a C++ compiler)"},
    )
    torch_compile_backend: Literal["inductor", "aot_eager", "eager"] | None = field(
        default=None,
        metadata={"help": "with torch_compile: who compiles; `aot_eager` and `eager` only trace. Unset: inductor"},
    )
    torch_compile_dynamic: bool | None = field(
        default=None,
        metadata={
            "help": "with torch_compile: code for any number of tokens; unset: false (static) with pack_sequences, "
            "true without, where every micro-batch has another number"
        },
    )
    tf32: bool | None = field(
        default=None,
        metadata={
            "help": "on CUDA: fp32 matrix products in TF32, quicker and with 10 bits of mantissa; unset: torch's own "
            "default, which is not"
        },
    )
    use_cpu: bool = field(default=False, metadata={"help": "stay on the CPU although there is a GPU"})
    num_threads: int | None = field(
        default=None,
        validator=optional(ge(1)),
        metadata={
            "help": "CPU threads of the loop; unset: one a core, the cores shared among the processes of a machine. "
            "Another number gives other bits"
        },
    )
    strategy: Literal["ddp", "fsdp"] = field(
        default="ddp",
        metadata={
            "help": "of several processes: with `ddp` each has all weights, gradients and moments; with `fsdp` (FSDP2) "
            "its share of them, which takes less memory and sends more. One process has all with either"
        },
    )
    rank_timeout: int = field(
        default=1800,
        validator=ge(1),
        metadata={"help": "of several processes: seconds that one waits for the others before the run ends"},
    )
    deterministic: bool = field(
        default=False,
        metadata={
            "help": "only kernels that give the same bits each time; an operation that has none ends the run. A CPU's "
            "runs are the same without it, unless a part's own kernel is not"
        },
    )
    cpu_matmul: Literal["auto", "torch", "onednn"] = field(
        default="auto",
        metadata={
            "help": "who multiplies fp32 matrices on a CPU: torch's usual way (MKL), or oneDNN; `auto`: oneDNN where "
            "the CPU has AVX-512 and is none of Intel's, as MKL is slow there. The other one gives other bits. "
            "A GPU's products are not touched"
        },
    )
    keep_freed_memory: bool = field(
        default=True,
        metadata={
            "help": "on Linux (glibc): the system's memory, not a GPU's, stays with the process when it is "
            "freed, for the next step, which is quicker"
        },
    )
    eval_steps: int | None = field(
        default=None,
        validator=optional(ge(1)),
        metadata={"help": "evaluate every so many steps; unset: at the ends"},
    )
    eval_max_batches: int | None = field(
        default=None, validator=optional(ge(1)), metadata={"help": "batches of an evaluation; unset: all"}
    )
    eval_position_buckets: tuple[int, ...] = field(
        default=(),
        validator=_ascending,
        metadata={
            "help": "held-out loss by a token's position in its sequence: `[512, 1024]` is of 0-512, 512-1024, and "
            "from there on; empty: none"
        },
    )
    eval_train_candidates: int | None = field(
        default=None,
        validator=optional(ge(1)),
        metadata={
            "help": "of a loss that makes embeddings: rank held-out queries also among the positives of so many "
            "training examples, before the first step and after the last; a number over all takes all; unset: none"
        },
    )
    save_steps: int | None = field(
        default=None,
        validator=optional(ge(1)),
        metadata={"help": "save every so many steps; unset: at the end"},
    )
    save_total_limit: int | None = field(
        default=None, validator=optional(ge(1)), metadata={"help": "newest checkpoints to keep; unset: all"}
    )
    async_save: bool = field(
        default=False,
        metadata={
            "help": "write checkpoints in the background, from a copy in the host's memory, while training goes on; "
            "one at a time, and as whole as without"
        },
    )
    metric_for_best: str | None = field(
        default=None,
        validator=optional(min_len(1)),
        metadata={
            "help": "an evaluation's metric, such as `eval/loss` or `eval/mrr@10`: a step that is the best by it is "
            "saved at once, and kept whatever save_total_limit says; unset: no step is the best"
        },
    )
    best_is: Literal["highest", "lowest"] | None = field(
        default=None,
        metadata={"help": "with metric_for_best: which of its values is best; unset: known by the metric's name"},
    )
    logging_steps: int = field(default=10, validator=ge(1), metadata={"help": "log every so many steps"})
    log_train_accuracy: bool = field(
        default=False,
        metadata={"help": "log the share of masked tokens guessed right (costs a forward pass a log)"},
    )
    log_grad_norm: bool = field(default=True, metadata={"help": "log the gradient norm before clipping"})
    hang_timeout: float = field(
        default=1800.0,
        validator=and_(ge(0.0), lt(inf)),
        metadata={
            "help": "seconds in which no step, evaluation or save begins or ends, after which the stack of every "
            "thread is printed and the run goes on; 0: never"
        },
    )
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
