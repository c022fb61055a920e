"""Trainers to look at, and the runs of the workflow's tests."""

import pytest
from conftest import PaddingCollator, random_rows, tiny_bert
from workflow import conftest as runs

from hf_distill import DistillationTrainer, create_student

command, quick_comparison, run_script, shelf = runs.command, runs.quick_comparison, runs.run_script, runs.shelf


@pytest.fixture
def new_trainer(make_arguments):
    def make(objective=None, student=None, teacher=None, rows=None, **values):
        teacher = teacher if teacher is not None else tiny_bert()
        return DistillationTrainer(
            student if student is not None else create_student(teacher),
            teacher,
            make_arguments(**values),
            objective=objective,
            train_dataset=rows if rows is not None else random_rows(8),
            data_collator=PaddingCollator(),
        )

    return make
