"""When the teacher answers: once, before training, or at every step."""

from __future__ import annotations

from accelerate.utils import parse_flag_from_env

from hf_distill.arguments import DistillationTrainingArguments, TeacherCacheArguments
from hf_distill.errors import InputError


def answer_before_training(
    cache: TeacherCacheArguments, args: DistillationTrainingArguments, rows: int, needs_cache: bool = False
) -> bool:
    """Whether the teacher answers all rows once, before training, as ``teacher_cache_dir`` says or where it pays.

    Args:
        cache: What was asked for.
        args: How long the training is, on how many rows at once, and what it compares.
        rows: Those that the teacher is to answer, with a label or without.
        needs_cache: A teacher cannot read what the student reads.

    Raises:
        InputError: A cache is needed that was ruled out, or that cannot hold what is compared.
    """
    objective = args.objective()
    if needs_cache and objective.looks_inside:
        raise InputError(
            "The objective compares more than answers, and teacher and student have different tokenizers (vocabulary, "
            "case or special tokens), so that what belongs to different tokens would be compared; leave only "
            "soft_target_weight and hard_target_weight above 0, or use models with the same tokenizer."
        )
    if needs_cache and cache.teacher_cache_dir == "false":
        raise InputError(
            "teacher_cache_dir is false, and a teacher has another tokenizer than the student (vocabulary, case or "
            "special tokens), so it would misread the student's tokens and can only answer before training; leave "
            "teacher_cache_dir out, or use models with the same tokenizer."
        )
    if cache.teacher_cache_dir is not None:
        return cache.teacher_cache_dir != "false"
    if objective.looks_inside or not objective.needs_teacher:
        return needs_cache
    plugin = args.deepspeed_plugin
    uses_fsdp = bool(args.fsdp) or parse_flag_from_env("ACCELERATE_USE_FSDP")
    is_sharded = uses_fsdp or (plugin is not None and plugin.zero_stage == 3)
    steps_of_an_epoch = rows / (args.train_batch_size * args.gradient_accumulation_steps * args.world_size)
    epochs = args.max_steps / steps_of_an_epoch if args.max_steps > 0 else args.num_train_epochs
    return needs_cache or (epochs > 1 and not is_sharded)
