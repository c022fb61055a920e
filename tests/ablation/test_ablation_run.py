"""scripts/ablation.py from beginning to end, on a tiny teacher."""

import json
import os
import shlex
import signal
import sys

import pytest
import torch
from ablation.conftest import scores_of
from safetensors.torch import load_file

from hf_distill.ablation import AblationRun
from hf_distill.ablation.bench import Bench, optimiser_steps
from hf_distill.ablation.folder import AblationFolder
from hf_distill.ablation.settings import RunSettings
from hf_distill.arguments import (
    AblationArguments,
    DataArguments,
    DistillationTrainingArguments,
    ModelArguments,
    TeacherCacheArguments,
)
from hf_distill.cli import parse_arguments
from hf_distill.evaluation import DistillationReport

pytest.importorskip("matplotlib", reason="needs the sweep extra")


def are_equal(weights, others):
    return all(torch.equal(weight, others[name]) for name, weight in weights.items())


def trained_by(patch):
    """The students that are trained from now on, as (variant, seed)."""
    trained, original = [], Bench.train

    def train(self, variant, changes, seed, scratch):
        trained.append((variant, seed))
        return original(self, variant, changes, seed, scratch)

    patch.setattr(Bench, "train", train)
    return trained


def test_scores_are_those_of_runs_on_their_own(ablate, command, run_script, out, tmp_path, capsys):
    own = {"alone": {"hidden_state_weight": 0, "learning_rate": 5e-3}}
    assert ablate(variants=json.dumps(own), variant_names='["full", "alone"]') == 0
    table, scores = (out / "ablation.md").read_text(), scores_of(out)
    assert table in capsys.readouterr().out
    assert shlex.split(table.splitlines()[-2])[1].endswith("ablation.py")
    assert len(scores) == 4
    for variant, seed in (("full", 43), ("alone", 42)):
        changes = {"hidden_state_weight": 0.5, "learning_rate": 1e-3} | (own["alone"] if variant == "alone" else {})
        folder = tmp_path / f"{variant}-{seed}"
        arguments = command(teacher_name_or_path=out / "train" / "teacher", output_dir=folder, seed=seed, **changes)
        assert run_script("distill_glue.py", arguments) == 0
        assert (
            DistillationReport.load(folder).student.metrics["validation"]["accuracy"] == scores["train", variant, seed]
        )
    facts = json.loads((out / "train" / "task.json").read_text())
    assert facts["teacher"] == DistillationReport.load(folder).teacher.metrics["validation"]["accuracy"]
    assert not list(out.rglob("*.training")) and len(list(out.rglob("*.safetensors"))) == 2


def test_all_automatic_variants_on_one_teacher_and_one_cache(ablate, out):
    assert ablate(variant_names=None, seeds=1, max_steps=1) == 0
    scores = scores_of(out)
    found = {variant for _, variant, _ in scores}
    assert {"full", "without soft targets", "hidden states alone", "random initialisation", "no teacher"} <= found
    assert all(score is not None for score in scores.values())
    assert len(list((out / "train" / "teacher_cache").iterdir())) == 1
    assert (out / "ablation.png").read_bytes().startswith(b"\x89PNG")


def test_killed_ablation_goes_on_with_what_is_missing(ablate, out):
    child = os.fork()
    if child == 0:
        original = Bench.train

        def die_at_the_third(self, variant, changes, seed, scratch):
            if (variant, seed) == ("full", 43):
                scratch.mkdir()
                os.kill(os.getpid(), signal.SIGKILL)
            return original(self, variant, changes, seed, scratch)

        Bench.train = die_at_the_third
        try:
            ablate()
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    teacher = (out / "train" / "teacher" / "model.safetensors").stat().st_mtime_ns
    with pytest.MonkeyPatch.context() as patch:
        trained = trained_by(patch)
        assert ablate() == 0
        assert trained == [("full", 43), ("no teacher", 43)]
        first = scores_of(out)
        assert ablate(seeds=3, variant_names='["full", "random initialisation"]', reference="full") == 0
    assert sorted(trained[2:]) == [("full", 44), *(("random initialisation", seed) for seed in (42, 43, 44))]
    assert {key: score for key, score in first.items() if key[1] == "full"}.items() <= scores_of(out).items()
    assert (out / "train" / "teacher" / "model.safetensors").stat().st_mtime_ns == teacher
    assert not list(out.rglob("*.training"))


def test_other_settings_are_refused_by_name(ablate, out, shelf, tmp_path, capfd):
    rows = tmp_path / "train.csv"
    rows.write_text((shelf / "train.csv").read_text())
    quick = {"seeds": 1, "train_file": rows, "max_steps": 1, "teacher_num_train_epochs": 1}
    assert ablate(**quick) == 0
    before = (out / "ablation.json").read_text()
    for name, value in {
        "learning_rate": 2e-3,
        "hidden_state_weight": 0.1,
        "max_steps": 2,
        "student_layers": 1,
    }.items():
        assert ablate(**{**quick, name: value}) == 2
        error = capfd.readouterr().err.splitlines()[-1]
        assert error.startswith("error: ") and f"with {name} " in error and "(train, full, seed 42)" in error
    rows.write_text("\n".join((shelf / "train.csv").read_text().splitlines()[:-4]))
    assert ablate(**{**quick, "seeds": 2}) == 2
    assert "other rows" in capfd.readouterr().err.splitlines()[-1]
    assert (out / "ablation.json").read_text() == before
    # What shapes no score may change.
    assert ablate(**{**quick, "logging_steps": 3, "per_device_eval_batch_size": 5}) == 0


def test_two_processes_share_the_students(ablate, out, tmp_path):
    children = []
    for number in range(2):
        child = os.fork()
        if child == 0:
            stderr = os.open(tmp_path / f"stderr-{number}", os.O_WRONLY | os.O_CREAT)
            os.dup2(stderr, 2)
            sys.stderr = os.fdopen(2, "w", buffering=1)
            try:
                os._exit(ablate())
            finally:
                os._exit(3)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0]
    told = [(tmp_path / f"stderr-{number}").read_text() for number in range(2)]
    finished = [line.split(": ")[1] for text in told for line in text.splitlines() if " of 4: train, " in line]
    assert len(set(finished)) == len(finished) == 4
    assert len(scores_of(out)) == 4 and None not in scores_of(out).values()
    assert "not finished" not in (out / "ablation.md").read_text()


def test_claim_ends_with_its_process(ablate, out):
    folder = AblationFolder(out)
    folder.begin({})
    child = os.fork()
    if child == 0:
        with folder.claim("a/b") as claimed, folder.claim("c"):
            os._exit(0 if claimed else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with folder.claim("a/b") as claimed:
        assert claimed
        with AblationFolder(out).claim("a/b") as again:
            assert not again


def test_tasks_with_settings_of_their_own(ablate, command, shelf, tmp_path, out, capfd):
    glue = tmp_path / "glue"
    for name, labels in {"SST-2": ("sentence", "label"), "CoLA": None}.items():
        (glue / name).mkdir(parents=True)
        for split, source in {"train": "train.csv", "dev": "dev.csv"}.items():
            rows = [line.rsplit(",", 1) for line in (shelf / source).read_text().splitlines()[1:]]
            numbers = [(text, int(label == "pos")) for text, label in rows]
            if labels:
                lines = ["\t".join(labels), *(f"{text}\t{label}" for text, label in numbers)]
            else:
                lines = [f"x\t{label}\t\t{text}" for text, label in numbers]
            (glue / name / f"{split}.tsv").write_text("\n".join(lines) + "\n")
    changes = {
        "train_file": None,
        "validation_file": None,
        "task_name": "sst2",
        "tasks": "[sst2, cola]",
        "task_settings": "{cola: {num_train_epochs: 2}}",
        "data_dir": glue,
        "seeds": 1,
        "variant_names": "[full]",
    }
    assert ablate(**changes) == 0
    found = json.loads((out / "ablation.json").read_text())
    assert {task: facts["metric"] for task, facts in found["tasks"].items()} == {
        "sst2": "accuracy",
        "cola": "matthews_correlation",
    }
    assert [found["variants"]["full"][task]["steps"] for task in ("sst2", "cola")] == [3, 6]
    assert "sst2 3, cola 6." in (out / "ablation.md").read_text()


def test_more_rows_do_not_train_for_longer_and_a_diverged_student_has_no_score(ablate, out, capfd):
    own = {"rest": {"max_train_samples": 16, "unlabelled_rest": True}, "few": {"max_train_samples": 16}}
    own |= {"longer": {"num_train_epochs": 2}, "wild": {"learning_rate": 1e30}}
    names = '["full", "rest", "few", "longer", "wild"]'
    assert ablate(variants=json.dumps(own), variant_names=names, seeds=1, per_device_train_batch_size=10) == 0
    found = json.loads((out / "ablation.json").read_text())["variants"]
    assert [found[name]["train"]["steps"] for name in ("full", "rest", "few", "longer")] == [5, 5, 5, 10]
    table = (out / "ablation.md").read_text()
    assert "train 5; but longer on train 10." in table
    assert "diverged" in capfd.readouterr().err
    assert scores_of(out)[("train", "wild", 42)] is None
    assert "| wild | – | – |" in table and "not defined: wild on train" in table


KINDS = (ModelArguments, TeacherCacheArguments, DataArguments, DistillationTrainingArguments, AblationArguments)


def test_students_start_alike_for_all_seeds_unless_their_weights_are_drawn(arguments, shelf, tmp_path):
    models, cache, data, args, _ = parse_arguments(KINDS, arguments())
    base = RunSettings(models, cache, data, args)
    changes = {
        "layers": {},
        "published": {"student_init": "pretrained"},
        "narrow": {"student_hidden_size": 16},
        "drawn": {"student_init": "random"},
        "convolutions": {"student_architecture": "cnn", "hidden_state_weight": 0},
    }
    variants = {name: base.changed(change, name) for name, change in changes.items()}
    bench = Bench(tmp_path / "task", base, variants)

    def weights(name, seed):
        return bench.student(variants[name], seed).state_dict()

    def first_layer(state):
        return state["bert.encoder.layer.0.output.dense.weight"]

    first = {name: weights(name, 42) for name in variants}
    for name in variants:
        assert are_equal(first[name], weights(name, 43)) == (name in ("layers", "published", "narrow"))
    assert are_equal(first["drawn"], weights("drawn", 42))
    published = load_file(shelf / "teacher" / "model.safetensors")
    finetuned = load_file(tmp_path / "task" / "teacher" / "model.safetensors")
    assert not torch.equal(first_layer(published), first_layer(finetuned))
    assert torch.equal(first_layer(first["published"]), first_layer(published))
    assert torch.equal(first_layer(first["layers"]), first_layer(finetuned))


@pytest.mark.parametrize(("rows", "batch", "accumulation", "epochs"), [(48, 16, 1, 3), (50, 16, 3, 1.5), (5, 8, 4, 2)])
def test_steps_are_counted_as_trainer_does(make_arguments, rows, batch, accumulation, epochs):
    from types import SimpleNamespace

    from conftest import random_rows, tiny_bert
    from datasets import Dataset

    from hf_distill import DistillationTrainer

    args = make_arguments(
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=accumulation,
        num_train_epochs=epochs,
        soft_target_weight=0.0,
    )
    trainer = DistillationTrainer(tiny_bert(layers=1), args=args, train_dataset=Dataset.from_list(random_rows(rows)))
    expected = trainer.set_initial_training_values(args, trainer.get_train_dataloader())[-1]
    assert optimiser_steps(SimpleNamespace(args=args), rows) == expected


def test_making_a_run_loads_nothing_and_writes_nothing(arguments, out):
    run = AblationRun(*parse_arguments(KINDS, arguments(teacher_name_or_path="/nowhere")))
    assert len(run.trials) == 4 and run.results.missing == 0
    assert not out.exists()
