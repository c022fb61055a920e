"""Sweeps over a tiny teacher that is fine-tuned first, so that its answers are worth learning from."""

import runpy
import sys
from types import SimpleNamespace

import pytest
from torch.nn.modules.module import register_module_forward_hook
from transformers import BertForSequenceClassification
from workflow import conftest as workflow

shelf, command, run_script = workflow.shelf, workflow.command, workflow.run_script
quick_comparison = workflow.quick_comparison

N_TRIALS = 4
# A student starts from layers of a teacher that has learnt; the learning rate of the first trial destroys it.
TRAINING = {
    "finetune_teacher": "true",
    "teacher_num_train_epochs": 6,
    "teacher_learning_rate": 5e-3,
    "num_train_epochs": 3,
    "learning_rate": 0.1,
    "per_device_train_batch_size": 8,
}
SWEEP = {**TRAINING, "n_trials": N_TRIALS, "learning_rate_range": "[1e-5, 0.1]"}


@pytest.fixture
def sweep(command, run_script):
    """Run a sweep that works, with changes; gives the exit code."""

    def run(*flags, **changes):
        return run_script("sweep.py", [*command(**{**SWEEP, **changes}), *flags])

    return run


@pytest.fixture(scope="module")
def swept(shelf, tmp_path_factory):
    """One finished sweep for all tests that only look: its folder, and how many rows its fine-tuned teacher answered.

    Its training rows repeat six of their number.
    """
    folder = tmp_path_factory.mktemp("swept")
    lines = (shelf / "train.csv").read_text().splitlines()
    (folder / "train.csv").write_text("\n".join([*lines, *lines[1:7]]) + "\n")
    values = {
        "teacher_name_or_path": shelf / "teacher",
        "train_file": folder / "train.csv",
        "validation_file": shelf / "dev.csv",
        "student_layers": 2,
        "output_dir": folder / "out",
        "max_seq_length": 16,
        "save_strategy": "no",
        "disable_tqdm": "true",
        "report_to": "none",
        "use_cpu": "true",
        **SWEEP,
    }
    answered = []

    def count(module, inputs, output):
        # The student has two layers, and the teacher is in training mode while it is fine-tuned.
        if isinstance(module, BertForSequenceClassification) and len(module.bert.encoder.layer) == 4:
            answered.append(0 if module.training else len(output.logits))

    argv = ["sweep.py", *(part for name, value in values.items() for part in (f"--{name}", str(value)))]
    hook = register_module_forward_hook(count)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", argv)
            runpy.run_path(str(workflow.SCRIPTS / "sweep.py"), run_name="__main__")
    finally:
        hook.remove()
    return SimpleNamespace(
        folder=folder / "out", train_file=folder / "train.csv", answered=sum(answered), argv=argv[1:]
    )
