"""What to say about a name that is no argument: which one replaced it, or which one is nearest."""

from collections.abc import Collection
from difflib import get_close_matches
from typing import NamedTuple


class Replacement(NamedTuple):
    """What took the place of a name.

    Attributes:
        name: The argument to use now, None where there is none.
        advice: What to do, as the end of a sentence.
    """

    name: str | None
    advice: str


def _renamed(name: str, value: str = "") -> Replacement:
    return Replacement(name, f"use {name}{value}")


_MIXED_PRECISION = Replacement(None, "leave it out: torch's own mixed precision is used")
_HUB_LOGIN = Replacement("hub_token", "log in with `hf auth login`, or set HF_TOKEN")

REPLACEMENTS: dict[str, Replacement] = {
    # Arguments that transformers 5 dropped from TrainingArguments.
    "adafactor": _renamed("optim", ": adafactor"),
    "dispatch_batches": _renamed("accelerator_config", ": {dispatch_batches: true}"),
    "evaluate_during_training": _renamed("eval_strategy", ": steps"),
    "evaluation_strategy": _renamed("eval_strategy"),
    "fp16_backend": _MIXED_PRECISION,
    "fp16_opt_level": _MIXED_PRECISION,
    "fsdp_min_num_params": _renamed("fsdp_config", ": {min_num_params: ...}"),
    "fsdp_transformer_layer_cls_to_wrap": _renamed("fsdp_config", ": {transformer_layer_cls_to_wrap: ...}"),
    "group_by_length": _renamed("train_sampling_strategy", ": group_by_length"),
    "half_precision_backend": _MIXED_PRECISION,
    "include_inputs_for_metrics": _renamed("include_for_metrics", ": [inputs]"),
    "include_tokens_per_second": _renamed("include_num_input_tokens_seen"),
    "jit_mode_eval": _renamed("torch_compile"),
    "logging_dir": Replacement(None, "set the environment variable TENSORBOARD_LOGGING_DIR"),
    "mp_parameters": Replacement(None, "leave it out: SageMaker's own trainer reads it"),
    "no_cuda": _renamed("use_cpu"),
    "past_index": Replacement(None, "leave it out: no model reads it any more"),
    "per_gpu_eval_batch_size": _renamed("per_device_eval_batch_size"),
    "per_gpu_train_batch_size": _renamed("per_device_train_batch_size"),
    "push_to_hub_model_id": _renamed("hub_model_id"),
    "push_to_hub_organization": _renamed("hub_model_id", ": ORGANIZATION/NAME"),
    "push_to_hub_token": _renamed("hub_token"),
    "ray_scope": Replacement(None, "set the environment variable RAY_SCOPE"),
    "save_safetensors": Replacement(None, "leave it out: weights are always saved as safetensors"),
    "sharded_ddp": _renamed("fsdp"),
    "split_batches": _renamed("accelerator_config", ": {split_batches: true}"),
    "torchdynamo": _renamed("torch_compile_backend"),
    "tpu_metrics_debug": _renamed("debug", ": tpu_metrics_debug"),
    "tpu_num_cores": Replacement(None, "set the environment variable TPU_NUM_CORES"),
    "use_ipex": Replacement(None, "leave it out: torch itself is fast on Intel processors now"),
    "use_legacy_prediction_loop": Replacement(None, "leave it out: there is only one evaluation loop now"),
    "use_mps_device": Replacement(None, "leave it out: an Apple GPU is used where there is one"),
    "warmup_ratio": _renamed("warmup_steps", ", where a number below 1 is a share of all steps"),
    "xpu_backend": _renamed("ddp_backend"),
    # Arguments of the ecosystem's run_glue.py and run_classification.py that go by another name here.
    "cache_dir": Replacement(None, "set the environment variable HF_HOME"),
    "config_name": Replacement(None, "leave it out: the configuration comes with the model"),
    "ignore_mismatched_sizes": _renamed("finetune_teacher", ": true, which gives the teacher a new head"),
    "label_column_name": _renamed("label_column"),
    "max_length": _renamed("max_seq_length"),
    "max_val_samples": _renamed("max_eval_samples"),
    "model_name_or_path": _renamed("teacher_name_or_path"),
    "model_revision": _renamed("teacher_revision"),
    "overwrite_cache": Replacement(None, "leave it out: no stale cache is ever used"),
    "pad_to_max_length": Replacement(None, "leave it out: every batch is padded to its own longest text"),
    "text_column_name": _renamed("text_column"),
    "text_column_names": _renamed("text_column", " and text_pair_column"),
    "token": _HUB_LOGIN,
    "tokenizer_name": Replacement(None, "leave it out: the tokenizer comes with the model"),
    "use_auth_token": _HUB_LOGIN,
    "use_fast_tokenizer": Replacement(None, "leave it out: all tokenizers are fast now"),
}


def suggest(name: str, known: Collection[str]) -> str:
    """What to write instead of `name`: its replacement, the arguments that it abbreviates, or the nearest one."""
    replacement = REPLACEMENTS.get(name)
    if replacement and (replacement.name is None or replacement.name in known):
        return replacement.advice
    longer = sorted(candidate for candidate in known if candidate.startswith(name))
    if 0 < len(longer) <= 3:
        return f"did you mean {' or '.join(longer)}?"
    near = get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else "--help lists all arguments"
