"""Keys of the published NeoBERT training tools that have another place here, or none.

The strict check refuses such a key like any unknown one, and adds the text below: where to go instead.
docs/coming_from_neobert.md has the same table; a test compares the two. A key that is right as it stands
(`trainer.max_steps`, `model.hidden_size`, ...) is not listed. This module holds text alone: the plugins that
it mentions are advice, and nothing depends on them.
"""

from __future__ import annotations

_TRACKER = 'list the tracker, its options beside its name: `trackers = [{ name = "wandb", project = "..." }]`'
_TUNING = "fine-tuning is an objective like any other: recipes `neobert/glue/TASK`, one for each of GLUE's nine tasks"
_MTEB = "`neobert-run --evaluate RUN --tasks mteb=NAME`, with the extra `[mteb]`"
_CLIP = "`optimizer.clip_attention_logits`: the threshold; unset, nothing is clipped or measured"
_CLIP_ALWAYS = (
    "with `optimizer.clip_attention_logits` every micro-batch of every step is measured, and each step clipped"
)
_ORTHOGONAL = "always Newton-Schulz; `optimizer.ns_steps` sets its steps"
_START = "`model.weights` names the folder or safetensors file to start from"
_RETRY = "a stream that fails stops the run; go on with `trainer.resume_from_checkpoint`"
_CACHE = "tokenized text is always cached, under a fingerprint of its content (folder: NEOBERT_CACHE)"
_KEPT = "`trainer.save_total_limit`"
_SAVED = "`trainer.save_steps`"
_LENGTH = "`dataset.max_seq_length`"
_RESUME = "`trainer.resume_from_checkpoint`"
_HUB = 'an option of `dataset.name = "hub"`'

MOVED: dict[str, str] = {
    # top level
    "task": "the parts decide what a run does: the loss, collator and dataset that the recipe names",
    "seed": "`trainer.seed`",
    "debug": "no such switch: `--check` shows what a recipe means, a small `trainer.max_steps` tries it",
    "config_path": "the recipe's path is the first argument of `neobert-run`",
    "variables": "TOML has no variables: `extends` shares values between recipes, `--table.key` sets one",
    "accelerate_config_file": "start with `torchrun` or `accelerate launch`; a process a GPU, all from the recipe",
    "use_deepspeed": "DeepSpeed is not used: `torchrun --nproc-per-node N -m neobert.cli RECIPE`",
    "pretrained_checkpoint": _START,
    "pretraining_metadata": "kept by the run itself: every checkpoint and export has its recipe.toml",
    "mteb_task_type": _MTEB,
    "mteb_batch_size": _MTEB,
    "mteb_pooling": _MTEB,
    "mteb_overwrite_results": _MTEB,
    # model
    "model.classifier_init_range": "a head starts with the deviation that `model.decoder_init_range` gives",
    "model.vocab_size": "the tokenizer decides it, and its `pad_vocab_to_multiple_of`",
    "model.pad_token_id": "the tokenizer decides it",
    "model.kernel_backend": "there is one implementation but for attention, `model.attn_backend`",
    "model.from_hub": _START,
    # dataset
    "dataset.config": _HUB,
    "dataset.path": 'an option of `dataset.name = "disk"` and of `"hub"`: the name says how it is read',
    "dataset.streaming": _HUB,
    "dataset.cache_dir": "set the environment variables NEOBERT_CACHE, and HF_HOME for downloads",
    "dataset.trust_remote_code": "datasets no longer runs a repository's code, and neither do we",
    "dataset.streaming_read_retries": _RETRY,
    "dataset.streaming_read_retry_backoff_seconds": _RETRY,
    "dataset.streaming_read_retry_max_backoff_seconds": _RETRY,
    "dataset.shuffle_buffer_size": "there is no buffer: the order is a function of (seed, epoch, index)",
    "dataset.pre_tokenize": _CACHE,
    "dataset.pre_tokenize_output": _CACHE,
    "dataset.load_all_from_disk": '`dataset.name = "disk"`',
    "dataset.force_redownload": "delete the data set from the folder of HF_HOME",
    "dataset.min_length": "filter the data before the run; nothing is dropped in silence",
    "dataset.alpha": "the share of each objective is the `probability` of its `[objectives.NAME]` table",
    "dataset.column": "`dataset.text_column`",
    "dataset.path_to_disk": _CACHE,
    "dataset.train.path": 'the `path` of `dataset.name = "hub"`',
    "dataset.train.split": "`dataset.train_split`",
    # tokenizer
    "tokenizer.pretrained_model_name_or_path": 'the `path` of `tokenizer.name = "pretrained"`',
    "tokenizer.path": 'an option of `tokenizer.name = "pretrained"`: a folder or a hub name',
    "tokenizer.max_length": _LENGTH,
    "tokenizer.padding": "sequences lie end to end and are never padded: there is nothing to choose",
    "tokenizer.truncation": '`datacollator.overflow = "split"`, `"truncate"` or `"drop"`',
    # optimizer
    "optimizer.muon_config": 'the options of `optimizer.name = "muon"` stand in `[optimizer]` itself',
    "optimizer.muon_config.muon_beta": "`optimizer.momentum`",
    "optimizer.muon_config.muon_decay": "`optimizer.weight_decay`",
    "optimizer.muon_config.nesterov": "`optimizer.nesterov`",
    "optimizer.muon_config.ns_steps": "`optimizer.ns_steps`",
    "optimizer.muon_config.enable_clipping": _CLIP,
    "optimizer.muon_config.clipping_threshold": _CLIP,
    "optimizer.muon_config.clipping_alpha": "queries and keys are scaled alike, each by the square root (0.5)",
    "optimizer.muon_config.clipping_warmup_steps": _CLIP_ALWAYS,
    "optimizer.muon_config.clipping_interval": _CLIP_ALWAYS,
    "optimizer.muon_config.clipping_qk_chunk_size": "logits are measured in chunks of a fixed size",
    "optimizer.muon_config.clipping_layers_mapping": "the model says where its queries and keys are (`fused_matrices`)",
    "optimizer.muon_config.capture_last_microbatch_only": _CLIP_ALWAYS,
    "optimizer.muon_config.detect_anomalies": "`trainer.guard` says what a NaN gradient does",
    "optimizer.muon_config.orthogonalization": _ORTHOGONAL,
    "optimizer.muon_config.algorithm": _ORTHOGONAL,
    "optimizer.muon_config.polar_express": _ORTHOGONAL,
    "optimizer.muon_config.norm_factor": "`optimizer.adjust_lr_fn`",
    "optimizer.muon_config.param_policy": "Muon updates the 2-D weights of the blocks, AdamW all others",
    "optimizer.hparams.lr": "`optimizer.lr`",
    "optimizer.hparams.betas": "`optimizer.betas`",
    "optimizer.hparams.eps": "`optimizer.eps`",
    "optimizer.hparams.weight_decay": "`optimizer.weight_decay`",
    # scheduler
    "scheduler.decay": '`scheduler.name`, such as `"cosine"` or `"linear"`',
    "scheduler.total_steps": "`trainer.max_steps`; `scheduler.decay_steps` ends the decay earlier",
    # trainer
    "trainer.masked_logits_only_loss": (
        'the default loss, `masked_lm`, does this; `loss.name = "full_logits_lm"` computes the whole matrix'
    ),
    "trainer.overwrite_output_dir": "no run is ever overwritten: choose another `trainer.output_dir`",
    "trainer.num_train_epochs": "a run is counted in steps: `trainer.max_steps`",
    "trainer.eval_strategy": "`trainer.eval_steps`",
    "trainer.save_strategy": "`trainer.save_steps`; the last step is always saved",
    "trainer.early_stopping": "no run is stopped for it; `trainer.metric_for_best` keeps the best step",
    "trainer.metric_for_best_model": "`trainer.metric_for_best`, such as `eval/loss`",
    "trainer.greater_is_better": "`trainer.best_is`",
    "trainer.load_best_model_at_end": "`trainer.metric_for_best` keeps the best step; `best.json` names its folders",
    "trainer.save_model": "every saved step is exported too",
    "trainer.disable_tqdm": "the live display is for terminals: through a pipe, output is plain lines",
    "trainer.dataloader_num_workers": "`dataset.num_workers`",
    "trainer.report_to": _TRACKER,
    # trainer: the first published code
    "trainer.dir": "`trainer.output_dir`",
    "trainer.resume": _RESUME,
    "trainer.accelerate.save_steps": _SAVED,
    "trainer.accelerate.max_ckpt": _KEPT,
    "trainer.model.save_steps": "`trainer.save_steps`: every saved step is exported too",
    "trainer.model.max_ckpt": _KEPT,
    "trainer.max_ckpt": _KEPT,
    "trainer.train_batch_size": "`trainer.per_device_train_batch_size`",
    "trainer.eval_batch_size": "`trainer.per_device_eval_batch_size`",
    # datacollator
    "datacollator.pad_to_multiple_of": "nothing is padded: a packed stream always has the same length",
    "datacollator.max_length": _LENGTH,
    # tables that are gone
    "dataloader.train.num_workers": "`dataset.num_workers`",
    "dataloader.train.batch_size": "`trainer.per_device_train_batch_size`",
    "dataloader.train.shuffle": "always: the order is a function of `trainer.seed`",
    "dataloader.train.pin_memory": "`dataset.pin_memory`",
    "dataloader.train.persistent_workers": "`dataset.persistent_workers`",
    "dataloader.train.pack_sequences": "`datacollator.pack_sequences`",
    "wandb": _TRACKER,
    "wandb.enabled": _TRACKER,
    "wandb.project": "the option `project` of the tracker `wandb`, in `trackers`",
    "wandb.entity": "the option `entity` of the tracker `wandb`, in `trackers`",
    "wandb.name": "the option `run_name` of the tracker `wandb`, in `trackers`",
    "wandb.mode": "the option `mode` of the tracker `wandb`, in `trackers`",
    "wandb.tags": "set the environment variable WANDB_TAGS",
    "wandb.dir": "set the environment variable WANDB_DIR",
    "wandb.log_interval": "`trainer.logging_steps`",
    "wandb.watch": "`trainer.log_grad_norm` and `trainer.log_weight_norms` log the norms",
    "wandb.resume": "a resumed run goes on in its own folder; its metrics.jsonl is one history",
    "glue": _TUNING,
    "glue.task_name": _TUNING,
    "glue.num_labels": "counted in the data; `loss.labels` names plain numbers",
    "glue.max_seq_length": _LENGTH,
    "glue.pretrained_model_path": _START,
    "glue.pretrained_checkpoint_dir": _START,
    "glue.pretrained_checkpoint": _START,
    "glue.allow_random_weights": "a model starts from random weights unless `model.weights` is set",
    "glue.classifier_dropout": "`loss.dropout` of `classification` and `regression`",
    "glue.classifier_init_range": "a head starts with the deviation that `model.decoder_init_range` gives",
    "glue.transfer_from_task": "`model.weights` names that task's run; a head of other classes starts afresh",
    "glue.num_workers": "`dataset.num_workers`",
    "glue.preprocessing_num_proc": "`dataset.num_proc`",
    "contrastive": "a contrastive run is a recipe: the `[loss]`, `[datacollator]` and `[dataset]` say how",
    "contrastive.temperature": "`loss.temperature`",
    "contrastive.pooling": "`loss.pooling`",
    "contrastive.loss_type": "`loss.name`",
    "contrastive.hard_negative_weight": "`loss.hard_negative_weight`",
    "contrastive.pretraining_prob": "the `probability` of each `[objectives.NAME]` table",
    "contrastive.pretrained_checkpoint_dir": _START,
    "contrastive.pretrained_checkpoint": _START,
    "contrastive.allow_random_weights": "a model starts from random weights unless `model.weights` is set",
}
"""Old dotted key (or table) -> where it is now, in words that follow "unknown key"."""

RENAMED: dict[str, str] = {
    "trainer.on_nonfinite_gradient": "`trainer.guard.action`, which has the same words",
}
"""The same of keys that this tool had itself before its first release."""
