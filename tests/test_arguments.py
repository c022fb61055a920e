import dataclasses
import math

import pytest
from transformers import TrainingArguments

from hf_distill.arguments import (
    DataArguments,
    DistillationTrainingArguments,
    FineTuningArguments,
    ModelArguments,
    StudentArguments,
    TeacherCacheArguments,
)
from hf_distill.arguments.objective_arguments import WEIGHTS, ObjectiveArguments
from hf_distill.errors import InputError
from hf_distill.objectives import HardTargets


def training_arguments(tmp_path, **settings):
    return DistillationTrainingArguments(str(tmp_path), use_cpu=True, **settings)


def test_training_arguments_take_the_output_folder_first(tmp_path):
    arguments = training_arguments(tmp_path, temperature=3.0, soft_target_weight=0.9, hard_target_weight=0.1)
    assert arguments.output_dir == str(tmp_path)
    assert (arguments.temperature, arguments.soft_target_weight, arguments.hard_target_weight) == (3.0, 0.9, 0.1)


def test_few_defaults_differ_from_transformers():
    ours = {field.name: field for field in dataclasses.fields(DistillationTrainingArguments)}
    theirs = {field.name: field for field in dataclasses.fields(TrainingArguments)}
    different = {
        name
        for name, field in theirs.items()
        if (ours[name].default, ours[name].default_factory) != (field.default, field.default_factory)
    }
    assert different == {
        "logging_nan_inf_filter",
        "restore_callback_states_from_checkpoint",
        "train_sampling_strategy",
    }
    of_the_objective = {field.name for field in dataclasses.fields(ObjectiveArguments)}
    assert set(ours) - set(theirs) == {*of_the_objective, "overwrite_output_dir"}


@pytest.mark.parametrize(
    "kind", [ModelArguments, StudentArguments, DataArguments, DistillationTrainingArguments, FineTuningArguments]
)
def test_every_field_is_explained(kind):
    for field in dataclasses.fields(kind):
        assert not field.init or field.metadata["help"], field.name


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan, math.inf])
def test_temperature_is_a_positive_number(tmp_path, temperature):
    with pytest.raises(InputError, match=f"temperature is {temperature}.*above 0"):
        training_arguments(tmp_path, temperature=temperature)


@pytest.mark.parametrize("name", WEIGHTS)
@pytest.mark.parametrize("weight", [-0.1, math.nan, math.inf])
def test_weights_are_not_negative(tmp_path, name, weight):
    with pytest.raises(InputError, match=f"{name} is {weight}.*0 or more"):
        training_arguments(tmp_path, **{name: weight})


def test_one_weight_is_above_zero(tmp_path):
    with pytest.raises(InputError, match="are all 0"):
        training_arguments(tmp_path, soft_target_weight=0.0, hard_target_weight=0.0)
    training_arguments(tmp_path, soft_target_weight=0.0, hard_target_weight=0.0, hidden_state_weight=1.0)


def test_fine_tuning_has_no_objective_to_set(tmp_path):
    arguments = FineTuningArguments(str(tmp_path), use_cpu=True)
    (stage,) = arguments.objective().stages
    assert stage.objective.terms == (HardTargets(),)
    with pytest.raises(TypeError):
        FineTuningArguments(str(tmp_path), soft_target_weight=0.5)


def test_fine_tuning_starts_from_a_student():
    assert StudentArguments("folder").student_name_or_path == "folder"
    with pytest.raises(InputError, match="student_name_or_path is not set"):
        StudentArguments()


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (None, None),
        (False, None),
        ("false", None),
        ("", None),
        (True, True),
        ("true", True),
        ("True", True),
        ("run/checkpoint-3", "run/checkpoint-3"),
    ],
)
def test_resume_from_the_last_checkpoint_or_a_named_one(tmp_path, given, meant):
    assert training_arguments(tmp_path, resume_from_checkpoint=given).resume_from_checkpoint == meant


@pytest.mark.parametrize(
    ("given", "num_layers", "layers"),
    [
        (None, None, None),
        (3, 3, None),
        ("3", 3, None),
        ([0, 2, 4], None, [0, 2, 4]),
        ("0,2,4", None, [0, 2, 4]),
        ("0, 2, 4", None, [0, 2, 4]),
        ("5,", None, [5]),
    ],
)
def test_student_layers_are_a_number_or_a_list(given, num_layers, layers):
    arguments = ModelArguments("teacher", student_layers=given)
    assert (arguments.num_layers, arguments.layers) == (num_layers, layers)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"teacher_name_or_path": ""}, "teacher_name_or_path is not set"),
        ({"student_layers": "half"}, "'half', which is neither"),
        ({"student_layers": "0;2"}, "'0;2', which is neither"),
        ({"student_layers": 3, "student_name_or_path": "other"}, "two different students"),
        ({"student_layers": 3, "student_config_name_or_path": "other"}, "two different students"),
        ({"student_name_or_path": "one", "student_config_name_or_path": "other"}, "two different students"),
        ({"student_hidden_size": 16, "student_name_or_path": "other"}, "student_hidden_size is 16, which are two"),
        ({"student_architecture": "distil", "student_config_name_or_path": "other"}, "'distil', which are two"),
        ({"student_revision": "main"}, "student_name_or_path and student_config_name_or_path are not"),
        ({"student_architecture": "rnn"}, "'rnn', which is no such choice; use one of same, distil"),
        ({"student_init": "zeros"}, "'zeros', which is no such choice; use one of teacher, pretrained, random"),
        ({"student_init": "random", "student_name_or_path": "other"}, "would be thrown away"),
        ({"student_intermediate_size": 0}, "student_intermediate_size is 0, which leaves nothing"),
        ({"layer_selection": "middle"}, "'middle', which is no such choice; use one of alternate, spaced, first, la"),
        ({"layer_selection": "last", "student_config_name_or_path": "other"}, "nothing to select"),
        ({"layer_selection": "last", "student_layers": [0, 2]}, "nothing to select"),
        ({"layer_selection": "last", "student_name_or_path": "other"}, "nothing to select"),
        ({"teacher_learning_rate": 0.0}, "teacher_learning_rate is 0.0"),
        ({"teacher_num_train_epochs": math.nan}, "teacher_num_train_epochs is nan"),
        ({"teacher_name_or_path": []}, "teacher_name_or_path is not set"),
        ({"teacher_name_or_path": ["one", ""]}, "teacher_name_or_path is not set"),
        ({"teacher_weights": [1.0, 2.0]}, "2 numbers for 1 teachers"),
        ({"teacher_name_or_path": ["one", "two"], "teacher_weights": [1.0, 0.0]}, "above 0"),
        ({"teacher_name_or_path": ["one", "two"], "finetune_teacher": True}, "OUTPUT_DIR/teacher"),
    ],
)
def test_impossible_models_are_refused(settings, message):
    with pytest.raises(InputError, match=message) as caught:
        ModelArguments(**{"teacher_name_or_path": "teacher", **settings})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "No data was named"),
        ({"task_name": "sst2", "train_file": "rows.csv"}, "task_name and train_file are set"),
        ({"task_name": "sst2", "max_seq_length": 0}, "max_seq_length is 0"),
        ({"task_name": "sst2", "max_train_samples": 0}, "max_train_samples is 0"),
        ({"task_name": "sst2", "max_eval_samples": -1}, "max_eval_samples is -1"),
    ],
)
def test_impossible_data_is_refused(settings, message):
    with pytest.raises(InputError, match=message):
        DataArguments(**settings)


@pytest.mark.parametrize(
    ("given", "read"), [(None, None), ("true", "true"), ("Yes", "true"), ("no", "false"), ("some/Where", "some/Where")]
)
def test_the_teacher_s_cache_is_a_folder_or_true_or_false(given, read):
    assert TeacherCacheArguments(teacher_cache_dir=given).teacher_cache_dir == read


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"teacher_batch_size": 0}, "teacher_batch_size is 0"),
        ({"teacher_cache_dtype": "int8"}, "fp32, fp16, bf16"),
        ({"teacher_cache_dir": "no", "overwrite_teacher_cache": True}, "no cache to overwrite"),
    ],
)
def test_impossible_caches_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        TeacherCacheArguments(**settings)
