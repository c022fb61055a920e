"""scripts/sweep.py from beginning to end, on a tiny teacher."""

import json
import os
import re
import signal
import subprocess
import sys

import pytest
from safetensors.torch import load_file
from sweep.conftest import N_TRIALS, TRAINING
from transformers import AutoModelForSequenceClassification, pipeline
from workflow.conftest import SCRIPTS

from hf_distill.evaluation import DistillationReport

pytest.importorskip("optuna", reason="needs the sweep extra")
pytest.importorskip("matplotlib", reason="needs the sweep extra")


TEACHES_AS_IT_IS = {"finetune_teacher": None, "teacher_num_train_epochs": None, "teacher_learning_rate": None}


def trials_of(folder):
    return json.loads((folder / "sweep.json").read_text())["trials"]


def without_seconds(trials):
    return [{name: value for name, value in trial.items() if name != "seconds"} for trial in trials]


def options(trial):
    names = ("temperature", "soft_target_weight", "hard_target_weight", "learning_rate")
    return {name: repr(trial[name]) for name in names}


def are_equal(weights, expected):
    return weights.keys() == expected.keys() and all((weights[name] == expected[name]).all() for name in expected)


def accuracy_of(model, shelf):
    classify = pipeline("text-classification", model=str(model))
    rows = [line.rsplit(",", 1) for line in (shelf / "dev.csv").read_text().splitlines()[1:]]
    answers = classify([text for text, _ in rows])
    return sum(answer["label"] == label for answer, (_, label) in zip(answers, rows, strict=True)) / len(rows)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def distilled(command, run_script, swept, tmp_path):
    """Distil with a trial's values, apart from any sweep; gives the student's accuracy and its weights."""

    def run(trial, seed=42, **changes):
        folder = tmp_path / f"alone-{trial['number']}-{seed}"
        finished = {"teacher_name_or_path": swept.folder / "teacher", "train_file": swept.train_file, "seed": seed}
        own = {**options(trial), "output_dir": folder}
        arguments = command(**{**TRAINING, **TEACHES_AS_IT_IS, **finished, **own, **changes})
        assert run_script("distill_glue.py", arguments) == 0
        report = DistillationReport.load(folder)
        return report.student.metrics["validation"]["accuracy"], load_file(folder / "model.safetensors")

    return run


def test_scores_and_best_student_are_those_of_runs_on_their_own(swept, distilled):
    trials = trials_of(swept.folder)
    assert [trial["number"] for trial in trials] == list(range(1, N_TRIALS + 1))
    assert trials[0]["score"] < max(trial["score"] for trial in trials)
    best = max(trials, key=lambda trial: trial["score"])
    for trial in trials:
        accuracy, weights = distilled(trial)
        assert trial["score"] == accuracy
        if trial is best:
            assert are_equal(load_file(swept.folder / "best" / "model.safetensors"), weights)


def test_best_student_is_an_ordinary_model(swept, shelf):
    assert AutoModelForSequenceClassification.from_pretrained(swept.folder / "best").config.num_hidden_layers == 2
    assert accuracy_of(swept.folder / "best", shelf) == max(trial["score"] for trial in trials_of(swept.folder))


def test_teacher_answers_each_row_once_in_the_whole_sweep(swept):
    rows = swept.train_file.read_text().splitlines()[1:]
    texts = {row.rsplit(",", 1)[0] for row in rows}
    assert len(texts) < len(rows)
    # The shortest one may be answered once more, to tell how large the cache will be.
    assert swept.answered - len(texts) in (0, 1)


def test_first_trial_is_the_run_as_its_arguments_have_it(swept):
    first = trials_of(swept.folder)[0]
    assert (first["temperature"], first["soft_target_weight"], first["learning_rate"]) == (2.0, 0.5, 0.1)


def test_values_lie_in_their_ranges(swept):
    for trial in trials_of(swept.folder):
        assert 1 <= trial["temperature"] <= 8
        assert 0 <= trial["soft_target_weight"] <= 1
        assert trial["soft_target_weight"] + trial["hard_target_weight"] == pytest.approx(1)
        assert 1e-5 <= trial["learning_rate"] <= 0.1


def test_table_plot_and_best_student_are_all_that_is_left(swept):
    left = {path.name for path in swept.folder.iterdir()}
    assert left == {"run.json", "sweep.db", "sweep.json", "sweep.md", "sweep.png", "best", "teacher", "teacher_cache"}
    assert not list(swept.folder.glob("best/checkpoint-*"))
    numbers = re.findall(r"^\| (\d+) \|", (swept.folder / "sweep.md").read_text(), flags=re.M)
    assert sorted(map(int, numbers)) == list(range(1, N_TRIALS + 1))


def taught_by_the_teacher_of(swept, out):
    """The same sweep once more, without fine-tuning the teacher again."""
    teacher = ("--teacher_name_or_path", swept.folder / "teacher", "--no_finetune_teacher")
    return [*swept.argv, *teacher, "--output_dir", out]


def killed(run, owner, name, condition):
    """Run in a forked process that dies by SIGKILL before the call of a method for which the condition holds."""
    child = os.fork()
    if child == 0:
        original = getattr(owner, name)

        def die_or_go_on(self, *args):
            if condition(self, *args):
                os.kill(os.getpid(), signal.SIGKILL)
            return original(self, *args)

        setattr(owner, name, die_or_go_on)
        try:
            run()
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


@pytest.mark.parametrize(
    ("method", "condition", "n_trials", "missing"),
    [
        ("_run_trial", lambda run, number, values: number == 3, N_TRIALS, [3, 4]),
        ("_tidy", lambda run, results: len(results.trials) == 3, 3, []),
    ],
    ids=["before a trial is trained", "before the best student is moved"],
)
def test_killed_sweep_goes_on_to_the_same_end(swept, shelf, run_script, out, method, condition, n_trials, missing):
    from hf_distill.sweep import SweepRun

    argv = [*taught_by_the_teacher_of(swept, out), "--n_trials", n_trials]
    killed(lambda: run_script("sweep.py", argv), SweepRun, method, condition)
    trained = []
    original = SweepRun._run_trial

    def run_trial(self, number, values):
        trained.append(number)
        return original(self, number, values)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SweepRun, "_run_trial", run_trial)
        assert run_script("sweep.py", [*argv, "--resume_from_checkpoint"]) == 0
    assert trained == missing
    assert without_seconds(trials_of(out)) == without_seconds(trials_of(swept.folder)[:n_trials])
    assert accuracy_of(out / "best", shelf) == max(trial["score"] for trial in trials_of(out))
    assert not list(out.glob("trial-*"))


def test_finished_sweep_is_extended_but_not_changed(sweep, out, capfd):
    quick = {**TEACHES_AS_IT_IS, "num_train_epochs": 1}
    assert sweep(**{**quick, "n_trials": 1}) == 0
    first = trials_of(out)
    assert sweep("--resume_from_checkpoint", **{**quick, "n_trials": 2}) == 0
    assert trials_of(out)[:1] == first and len(trials_of(out)) == 2
    for name, change in {"temperature_range": "[1, 4]", "weight_decay": 0.1}.items():
        assert sweep("--resume_from_checkpoint", **{**quick, "n_trials": 3, name: change}) == 2
        error = capfd.readouterr().err.splitlines()[-1]
        assert error.startswith("error: ") and name in error
    assert len(trials_of(out)) == 2
    assert sweep("--overwrite_output_dir", **{**quick, "n_trials": 1, "temperature_range": "[1, 4]"}) == 0
    assert len(trials_of(out)) == 1


def test_several_seeds_and_the_best_epoch_of_each(swept, distilled, run_script, out):
    best_epoch = {"load_best_model_at_end": "true", "metric_for_best_model": "accuracy"}
    best_epoch |= {"eval_strategy": "epoch", "save_strategy": "epoch"}
    changes = {**best_epoch, "n_trials": 1, "trial_seeds": 2, "learning_rate": 5e-3}
    flags = [part for name, value in changes.items() for part in (f"--{name}", value)]
    assert run_script("sweep.py", [*taught_by_the_teacher_of(swept, out), *flags]) == 0
    (trial,) = trials_of(out)
    alone = [distilled(trial, seed, **best_epoch) for seed in (42, 43)]
    assert trial["scores"] == [accuracy for accuracy, _ in alone]
    assert trial["score"] == pytest.approx(sum(trial["scores"]) / 2)
    assert are_equal(load_file(out / "best" / "model.safetensors"), alone[0][1])
    assert not are_equal(alone[0][1], alone[1][1])
    assert not list(out.glob("best/checkpoint-*"))


def test_trials_that_diverge_are_told_and_none_is_best(swept, run_script, out, capfd):
    learning_rate = ("--learning_rate_range", "1e30", "1e31", "--n_trials", "2")
    assert run_script("sweep.py", [*taught_by_the_teacher_of(swept, out), *learning_rate]) == 2
    error = capfd.readouterr().err
    assert "Trial 1 diverged" in error and "None of 2 trials gave a score" in error.splitlines()[-1]
    assert [trial["score"] for trial in trials_of(out)] == [None, None]
    assert "2 diverged" in (out / "sweep.md").read_text()
    assert not (out / "best").exists() and not list(out.glob("trial-*"))


def test_other_rows_of_the_same_name_are_refused(sweep, shelf, tmp_path, capfd):
    dev, lines = tmp_path / "dev.csv", (shelf / "dev.csv").read_text().splitlines()
    quick = {**TEACHES_AS_IT_IS, "max_steps": 1}
    dev.write_text("\n".join(lines))
    assert sweep(n_trials=1, validation_file=dev, **quick) == 0
    dev.write_text("\n".join(lines[:-2]))
    assert sweep("--resume_from_checkpoint", n_trials=2, validation_file=dev, **quick) == 2
    assert "fingerprint of the rows" in capfd.readouterr().err


@pytest.mark.slow
def test_two_processes_train_every_trial_together(swept, shelf, out):
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    argv = [*taught_by_the_teacher_of(swept, out), "--per_device_train_batch_size", 4]
    command = [*launcher, SCRIPTS / "sweep.py", *argv]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-5000:]
    assert done.stderr.count("Trial 2 of 4") == 1
    for trial, expected in zip(trials_of(out), trials_of(swept.folder), strict=True):
        assert options(trial) == options(expected)
    assert accuracy_of(out / "best", shelf) == max(trial["score"] for trial in trials_of(out))
