"""Ablations over a tiny teacher that is fine-tuned first."""

import json

import pytest
from workflow import conftest as workflow

shelf, command, run_script = workflow.shelf, workflow.command, workflow.run_script
quick_comparison = workflow.quick_comparison

ABLATION = {
    "finetune_teacher": "true",
    "teacher_num_train_epochs": 2,
    "teacher_learning_rate": 5e-3,
    "learning_rate": 1e-3,
    "hidden_state_weight": 0.5,
    "seeds": 2,
    "variant_names": '["full", "no teacher"]',
}


def scores_of(folder):
    """By task, variant and seed."""
    found = json.loads((folder / "ablation.json").read_text())
    return {
        (task, variant, seed): score
        for variant, by_task in found["variants"].items()
        for task, values in by_task.items()
        if task != "mean"
        for seed, score in zip(found["seeds"], values["scores"], strict=True)
    }


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def arguments(command):
    """The words of an ablation that works, with changes."""

    def words(*flags, **changes):
        return [*command(**{**ABLATION, **changes}), *flags]

    return words


@pytest.fixture
def ablate(arguments, run_script):
    """Run one; gives the exit code."""

    def run(*flags, **changes):
        return run_script("ablation.py", arguments(*flags, **changes))

    return run
