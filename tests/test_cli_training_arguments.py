import dataclasses

import pytest
from transformers import HfArgumentParser, TrainingArguments

from hf_distill.arguments import (
    DataArguments,
    DistillationTrainingArguments,
    FineTuningArguments,
    ModelArguments,
    StudentArguments,
)
from hf_distill.cli import parse_arguments
from hf_distill.cli.parser import ArgumentsParser
from hf_distill.cli.unknown_names import REPLACEMENTS
from hf_distill.errors import InputError

ALL = (ModelArguments, DataArguments, DistillationTrainingArguments)


def message(*argv, types=ALL):
    with pytest.raises(InputError) as caught:
        parse_arguments(types, argv)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", sorted(REPLACEMENTS))
def test_replaced_names_are_refused_with_what_replaced_them(write, name):
    known = {item.name for kind in ALL for item in dataclasses.fields(kind)}
    replacement = REPLACEMENTS[name]
    assert name not in known
    assert replacement.name is None or replacement.name in known
    assert message(f"--{name}", "1") == f"--{name} is not an argument; {replacement.advice}"
    assert message(write(f"{name}: 1")).endswith(f"{name} is not an argument; {replacement.advice}")


def test_the_replacements_that_matter_most():
    assert message("--evaluation_strategy", "epoch").endswith("; use eval_strategy")
    assert message("--group-by-length").endswith("; use train_sampling_strategy: group_by_length")
    assert "warmup_steps" in message("--warmup_ratio=0.1")
    assert message("--no_cuda").endswith("; use use_cpu")


def test_fine_tuning_offers_no_objective_and_no_teacher():
    types = (StudentArguments, DataArguments, FineTuningArguments)
    known = ArgumentsParser(types).fields
    assert {"student_name_or_path", "task_name", "learning_rate", "overwrite_output_dir"} < set(known)
    assert not {"temperature", "soft_target_weight", "teacher_name_or_path"} & set(known)
    assert message("--temperature", "2", types=types).startswith("--temperature is not an argument")
    assert message("--model_name_or_path", "x", types=types).endswith("did you mean student_name_or_path?")


def sample(item):
    """A value that a TrainingArguments field takes, as text."""
    texts = {"eval_strategy": "epoch", "save_strategy": "best", "logging_strategy": "no", "hub_strategy": "end"}
    texts |= {"lr_scheduler_type": "cosine", "optim": "adafactor"}
    hint = str(item.type)
    if item.name in texts:
        return texts[item.name]
    if "choices" in item.metadata:
        return list(item.metadata["choices"])[-1]
    return "true" if "bool" in hint else "0.25" if "float" in hint else "7" if "int" in hint else "word"


def test_every_training_argument_is_read_as_transformers_reads_it():
    theirs = HfArgumentParser(TrainingArguments, allow_abbrev=False)
    ours = ArgumentsParser([DistillationTrainingArguments])
    # transformers' own parser cannot read a mapping, and gives back True and lists only in part.
    skipped = {"liger_kernel_config", "parallelism_config", "trackio_static_space_id", "label_names", "debug"}
    skipped |= {"include_for_metrics", "include_num_input_tokens_seen", "fsdp", "report_to", "optim_target_modules"}
    fields = [item for item in dataclasses.fields(TrainingArguments) if item.init and item.name not in skipped]
    argv = [f"--{item.name}={sample(item)}" for item in fields]
    expected = vars(theirs.parse_args(argv))

    values = {name: ours.read(name, setting) for name, setting in ours.parse_settings(argv).items()}

    assert len(values) > 90
    assert values == {name: expected[name] for name in values}


def test_training_arguments_from_a_file(write, tmp_path):
    path = write(
        f"""
teacher_name_or_path: some/teacher
student_layers: [0, 2, 4]
task_name: sst2
output_dir: {tmp_path}
use_cpu: true
learning_rate: 3e-5
eval_strategy: no
save_strategy: off
warmup_steps: 0.1
report_to: [tensorboard, wandb]
debug: underflow_overflow
lr_scheduler_type: cosine_with_min_lr
lr_scheduler_kwargs: {{min_lr: 1e-6}}
accelerator_config: {{even_batches: no}}
include_num_input_tokens_seen: non_padding
resume_from_checkpoint: true
bf16:
"""
    )
    model, data, training = parse_arguments(ALL, [path, "--student-layers", "0,3", "--max_seq_length=64"])
    assert (model.teacher_name_or_path, model.layers) == ("some/teacher", [0, 3])
    assert (data.task_name, data.max_seq_length) == ("sst2", 64)
    assert (training.learning_rate, training.warmup_steps, training.bf16) == (3e-5, 0.1, False)
    assert (training.eval_strategy.value, training.save_strategy.value) == ("no", "no")
    assert training.report_to == ["tensorboard", "wandb"]
    assert [option.value for option in training.debug] == ["underflow_overflow"]
    assert training.lr_scheduler_kwargs == {"min_lr": 1e-6}
    assert training.accelerator_config.even_batches is False
    assert training.include_num_input_tokens_seen == "non_padding"
    assert training.resume_from_checkpoint is True


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ([], "teacher_name_or_path is not set"),
        (["--teacher_name_or_path", "x", "--task_name", "sst2", "--temperature", "0"], "temperature is 0.0"),
        (["--teacher_name_or_path", "x", "--task_name", "sst2", "--load_best_model_at_end"], "to match"),
        (["--teacher_name_or_path", "x", "--task_name", "sst2", "--accelerator_config", "{a: 1}"], "'a'"),
        (["--teacher_name_or_path", "x", "--task_name", "sst2", "--fsdp", "--fsdp_config", "none.json"], "none.json"),
    ],
)
def test_what_the_dataclasses_refuse_is_an_input_error(argv, expected):
    assert expected in message(*argv, "--use_cpu")


def test_help_is_grouped_and_explains_everything(capsys):
    with pytest.raises(SystemExit) as caught:
        parse_arguments(ALL, ["--help"], description="Distil a teacher.")
    text = capsys.readouterr().out
    assert caught.value.code == 0
    assert text.startswith("usage: ") and "Distil a teacher." in text
    assert text.count("accelerate launch scripts/") == 2
    titles = [
        "teacher and student:",
        "data:",
        "objective and training:",
        "everything else that transformers.TrainingArguments",
    ]
    places = [text.index(f"\n{title}") for title in titles]
    assert places == sorted(places)
    for kind in ALL:
        for item in dataclasses.fields(kind):
            assert not item.init or f"\n  --{item.name} " in text
    assert text.index("--temperature") < places[3] < text.index("--output_dir TEXT")
    assert "--teacher_weights NUMBER [NUMBER ...]" in text and "--student_layers INTEGER [INTEGER ...]" in text
    assert "--no_baseline" not in text
    assert max(len(line) for line in text.splitlines()) <= 110
