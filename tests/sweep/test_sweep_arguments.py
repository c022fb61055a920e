"""What a sweep can be told, in YAML and on the command line, and what is refused before anything is trained."""

import sys
from pathlib import Path

import pytest

from hf_distill.arguments import (
    DataArguments,
    DistillationTrainingArguments,
    ModelArguments,
    SweepArguments,
    TeacherCacheArguments,
)
from hf_distill.cli import parse_arguments
from hf_distill.errors import InputError
from hf_distill.sweep.settings import check_same_sweep, sweep_settings
from hf_distill.tasks import Task

CONFIG = Path(__file__).parents[2] / "configs" / "sweep.yaml"


def parse(*argv):
    return parse_arguments([SweepArguments], argv)[0]


def test_yaml_and_command_line(write):
    path = write("n_trials: 7\ntemperature_range: [1, 4]\nlearning_rate_range: [1e-5, 1e-3]\n")
    assert parse(path, "--temperature_range", "2", "3.5", "--trial_seeds", "2") == SweepArguments(
        n_trials=7, temperature_range=[2.0, 3.5], learning_rate_range=[1e-5, 1e-3], trial_seeds=2
    )
    assert parse() == SweepArguments(20, [1.0, 8.0], [0.0, 1.0], None, 1)


@pytest.mark.parametrize(
    ("argv", "mentions"),
    [
        (["--n_trials", "0"], "n_trials is 0"),
        (["--trial_seeds", "0"], "trial_seeds is 0"),
        (["--temperature_range", "1"], "no range"),
        (["--temperature_range", "8", "1"], "lower one first"),
        (["--temperature_range", "0", "8"], "above 0"),
        (["--temperature_range", "1", "inf"], "no range"),
        (["--soft_target_weight_range", "0", "1.5"], "from 0 to 1"),
        (["--soft_target_weight_range", "-1", "1"], "from 0 to 1"),
        (["--learning_rate_range", "0", "1"], "above 0"),
        (["--temperature_range", "2", "2", "--soft_target_weight_range", "0.5", "0.5"], "nothing to search"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_searched_is_refused(argv, mentions):
    with pytest.raises(InputError, match=mentions) as caught:
        parse(*argv)
    assert "\n" not in str(caught.value)


def test_config_is_a_sweep_of_the_quick_start_s_teacher():
    kinds = (SweepArguments, ModelArguments, TeacherCacheArguments, DataArguments, DistillationTrainingArguments)
    sweep, models, cache, data, args = parse_arguments(kinds, [str(CONFIG), "--use_cpu"])
    assert sweep.temperature_range == [1.0, 8.0]
    assert models.finetune_teacher and not models.baseline
    assert cache.teacher_cache_dir is None
    assert (data.task_name, args.output_dir) == ("rotten_tomatoes", "outputs/sweep")


@pytest.mark.parametrize(
    ("changes", "mentions"),
    [
        ({"teacher_cache_dir": "false"}, "teacher_cache_dir"),
        ({"push_to_hub": "true", "hub_model_id": "me/student"}, "push_to_hub"),
        ({"resume_from_checkpoint": "some/checkpoint-4"}, "--resume_from_checkpoint alone"),
        ({"student_layers": 9}, "9"),
        ({"temperature_rang": 1}, "temperature_range"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_refused_in_one_line_before_anything_is_written(changes, mentions, command, run_script, tmp_path, capfd):
    pytest.importorskip("optuna", reason="needs the sweep extra")
    assert run_script("sweep.py", command(**changes)) == 2
    errors = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and mentions in errors[0]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("package", ["optuna", "matplotlib"])
def test_missing_extra_is_named(package, command, run_script, monkeypatch, tmp_path, capfd):
    monkeypatch.setitem(sys.modules, package, None)
    assert run_script("sweep.py", command()) == 2
    error = capfd.readouterr().err.splitlines()[-1]
    assert package in error and "pip install 'hf_distill[sweep]'" in error
    assert not (tmp_path / "out").exists()


def test_help_explains_the_sweep(run_script, capsys):
    assert run_script("sweep.py", ["--help"]) == 0
    text = capsys.readouterr().out
    for name in SweepArguments.__dataclass_fields__:
        assert f"--{name} " in text
    assert "--teacher_cache_dir" in text and "scripts/sweep.py" in text


def settings(make_arguments, sweep=None, fingerprint="a", **training):
    task = Task("t", None, {}, None, "regression", (), "pearson", {"fingerprint": fingerprint})
    return sweep_settings(SweepArguments(**(sweep or {})), make_arguments(**training), task)


@pytest.mark.parametrize(
    ("change", "mentions"),
    [
        ({"sweep": {"temperature_range": [1, 4]}}, "temperature_range"),
        ({"sweep": {"soft_target_weight_range": [0, 0.5]}}, "soft_target_weight_range"),
        ({"sweep": {"learning_rate_range": [1e-4, 1e-3]}}, "learning_rate_range"),
        ({"sweep": {"trial_seeds": 3}}, "trial_seeds"),
        ({"num_train_epochs": 9}, "num_train_epochs"),
        ({"max_steps": 9}, "max_steps"),
        ({"fingerprint": "b"}, "fingerprint of the rows"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_makes_scores_incomparable_may_not_change(make_arguments, change, mentions):
    with pytest.raises(InputError, match=f"'out' holds a sweep with {mentions} .*--overwrite_output_dir"):
        check_same_sweep(settings(make_arguments), settings(make_arguments, **change), "out")


def test_what_changes_no_score_may_change(make_arguments):
    for change in ({"sweep": {"n_trials": 50}}, {"eval_strategy": "epoch"}, {"logging_steps": 3}):
        check_same_sweep(settings(make_arguments), settings(make_arguments, **change), "out")


def test_choice_of_the_best_step_may_not_change(make_arguments):
    best = {"load_best_model_at_end": True, "save_strategy": "steps", "eval_strategy": "steps", "save_steps": 4}
    old, new = (settings(make_arguments, **best, eval_steps=steps) for steps in (2, 4))
    with pytest.raises(InputError, match="eval_steps"):
        check_same_sweep(old, new, "out")
