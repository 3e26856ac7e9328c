"""Keys of the published NeoBERT training tool that have another place here, or none.

The strict check refuses such a key like any unknown one, and adds the text below, so that a person who comes from
there reads where to go. docs/coming_from_neobert.md has the same table for reading; a test compares the two.
A key that is right as it stands (`trainer.max_steps`, `model.hidden_size`, ...) is not listed.
"""

from __future__ import annotations

_TRACKER = 'list the tracker: `trackers = [{ name = "wandb", ... }]`; its options are that table\'s keys'
_FINE_TUNING = "fine-tuning on GLUE is not part of this tool: load the exported folder in any fine-tuning script"
_MTEB = "retrieval and MTEB scores are not part of this tool: open the exported folder with sentence-transformers"
_NO_CLIP = "query-key clipping is not part of the muon optimizer here; `trainer.gradient_clipping` bounds the norm"
_EPOCHS = "a run is counted in steps: set `trainer.max_steps`"
_BEST = "every kept step is exported; choose the best by its line in metrics.jsonl"
_ONE_COMPILER = "there is one way to compile, static shapes with inductor: `trainer.torch_compile = true`"
_START = "`model.weights` names the folder or safetensors file to start from"
_RETRIES = "a stream that fails stops the run; go on from the last checkpoint with `trainer.resume_from_checkpoint`"

MOVED: dict[str, str] = {
    # top level
    "task": "the parts decide what a run does: the `[loss]`, `[datacollator]` and `[dataset]` that the recipe names",
    "seed": "`trainer.seed`",
    "debug": "no such switch: `--check` shows what a recipe means, a small `trainer.max_steps` tries it",
    "config_path": "the recipe's path is the first argument of `neobert-run`",
    "variables": "TOML has no variables: `extends` shares values between recipes, `--table.key` sets one",
    "accelerate_config_file": "start the command with `accelerate launch --config_file FILE`",
    "use_deepspeed": "DeepSpeed is not used: start with `accelerate launch` for DDP or FSDP2",
    "pretrained_checkpoint": _START,
    "pretraining_metadata": "kept by the run itself: every checkpoint and export has its recipe.toml",
    "mteb_task_type": _MTEB,
    "mteb_batch_size": _MTEB,
    "mteb_pooling": _MTEB,
    "mteb_overwrite_results": _MTEB,
    # model
    "model.classifier_init_range": _FINE_TUNING,
    "model.vocab_size": "the tokenizer decides it: its length, rounded up by `tokenizer.pad_vocab_to_multiple_of`",
    "model.pad_token_id": "the tokenizer decides it",
    "model.kernel_backend": "there is one implementation of norms and activations; `model.attn_backend` picks attention",
    "model.from_hub": _START,
    # dataset
    "dataset.config": 'an option of `dataset.name = "hub"`',
    "dataset.path": "an option of `dataset.name = \"disk\"` and `\"hub\"`; the plugin's own name says how it is read",
    "dataset.streaming": 'an option of `dataset.name = "hub"`',
    "dataset.cache_dir": "set the environment variable NEOBERT_CACHE (and HF_HOME for downloads)",
    "dataset.trust_remote_code": "datasets no longer runs a repository's code, and neither do we",
    "dataset.streaming_read_retries": _RETRIES,
    "dataset.streaming_read_retry_backoff_seconds": _RETRIES,
    "dataset.streaming_read_retry_max_backoff_seconds": _RETRIES,
    "dataset.shuffle_buffer_size": "there is no buffer: the order is a function of (seed, epoch, index)",
    "dataset.pre_tokenize": "text is always tokenized once and cached; there is nothing to switch on",
    "dataset.pre_tokenize_output": "the cache (NEOBERT_CACHE) keeps tokenized text under a fingerprint of its content",
    "dataset.load_all_from_disk": '`dataset.name = "disk"`',
    "dataset.force_redownload": "set HF_HOME to an empty folder, or delete the data set's folder there",
    "dataset.min_length": "filter the data before the run; nothing is dropped in silence",
    "dataset.alpha": "the share of each objective is its `probability` in `[objectives.NAME]`",
    # tokenizer
    "tokenizer.path": '`tokenizer.name = "pretrained"`, whose option names a hub repository or a folder',
    "tokenizer.max_length": "`dataset.max_seq_length`",
    "tokenizer.padding": "sequences lie end to end and are never padded: there is nothing to choose",
    "tokenizer.truncation": '`datacollator.overflow = "split"`, `"truncate"` or `"drop"`',
    # optimizer
    "optimizer.muon_config": 'the options of `optimizer.name = "muon"` stand in `[optimizer]` itself',
    "optimizer.muon_config.muon_beta": "`optimizer.momentum`",
    "optimizer.muon_config.muon_decay": "`optimizer.weight_decay`",
    "optimizer.muon_config.nesterov": "`optimizer.nesterov`",
    "optimizer.muon_config.ns_steps": "`optimizer.ns_steps`",
    "optimizer.muon_config.enable_clipping": _NO_CLIP,
    "optimizer.muon_config.clipping_threshold": _NO_CLIP,
    "optimizer.muon_config.clipping_alpha": _NO_CLIP,
    "optimizer.muon_config.clipping_warmup_steps": _NO_CLIP,
    "optimizer.muon_config.clipping_interval": _NO_CLIP,
    "optimizer.muon_config.clipping_qk_chunk_size": _NO_CLIP,
    "optimizer.muon_config.clipping_layers_mapping": _NO_CLIP,
    "optimizer.muon_config.capture_last_microbatch_only": _NO_CLIP,
    "optimizer.muon_config.detect_anomalies": "`trainer.on_nonfinite_gradient` says what a NaN gradient does",
    "optimizer.muon_config.orthogonalization": "torch's Muon uses Newton-Schulz; `optimizer.ns_steps` sets its steps",
    "optimizer.muon_config.algorithm": "torch's Muon uses Newton-Schulz; `optimizer.ns_steps` sets its steps",
    "optimizer.muon_config.polar_express": "torch's Muon uses Newton-Schulz; `optimizer.ns_steps` sets its steps",
    "optimizer.muon_config.norm_factor": "`optimizer.adjust_lr_fn`",
    "optimizer.muon_config.param_policy": "Muon updates the 2-D weights of the blocks, AdamW all others",
    # scheduler
    "scheduler.total_steps": "the run's length is `trainer.max_steps`; `scheduler.decay_steps` ends the decay earlier",
    # trainer
    "trainer.masked_logits_only_loss": (
        'the default loss, `masked_lm`, does this; `loss.name = "full_logits_lm"` computes the whole matrix'
    ),
    "trainer.overwrite_output_dir": "a folder that holds a run is never overwritten: choose another `trainer.output_dir`",
    "trainer.torch_compile_dynamic": _ONE_COMPILER,
    "trainer.torch_compile_backend": _ONE_COMPILER,
    "trainer.num_train_epochs": _EPOCHS,
    "trainer.eval_strategy": "set `trainer.eval_steps`",
    "trainer.save_strategy": "set `trainer.save_steps`; the last step is always saved",
    "trainer.early_stopping": _BEST,
    "trainer.metric_for_best_model": _BEST,
    "trainer.greater_is_better": _BEST,
    "trainer.load_best_model_at_end": _BEST,
    "trainer.save_model": "every saved step is exported too; `trainer.save_steps` says how often",
    "trainer.disable_tqdm": "the live display is for terminals; send the output to a file or a pipe for plain lines",
    "trainer.dataloader_num_workers": "`dataset.num_workers`",
    "trainer.report_to": _TRACKER,
    "trainer.tf32": "set by the environment: `TORCH_ALLOW_TF32_CUBLAS_OVERRIDE=1`",
    "trainer.max_ckpt": "`trainer.save_total_limit`",
    "trainer.train_batch_size": "`trainer.per_device_train_batch_size`",
    "trainer.eval_batch_size": "`trainer.per_device_eval_batch_size`",
    # datacollator
    "datacollator.pad_to_multiple_of": "no padding is added; a packed stream always has the same number of tokens",
    "datacollator.max_length": "`dataset.max_seq_length`",
    # tables that are gone
    "wandb": _TRACKER,
    "wandb.enabled": _TRACKER,
    "wandb.log_interval": "`trainer.logging_steps`",
    "wandb.watch": "`trainer.log_grad_norm` and `trainer.log_weight_norms` log the norms",
    "wandb.resume": "a resumed run goes on in its own folder; its metrics.jsonl is one history",
    "glue": _FINE_TUNING,
    "contrastive": "a contrastive run is a recipe: the `[loss]`, `[datacollator]` and `[dataset]` say how",
    "contrastive.temperature": "`loss.temperature`, an option of a contrastive loss",
    "contrastive.pooling": "`loss.pooling`, an option of a contrastive loss",
    "contrastive.loss_type": "`loss.name`",
    "contrastive.hard_negative_weight": "`loss.hard_negative_weight`, an option of a contrastive loss",
    "contrastive.pretraining_prob": "`[objectives.NAME]` tables, each with its `probability`",
    "contrastive.pretrained_checkpoint_dir": _START,
    "contrastive.pretrained_checkpoint": _START,
    "contrastive.allow_random_weights": "a model starts from random weights unless `model.weights` is set",
}
"""Old dotted key (or table) -> where it is now, in words that follow "unknown key"."""
