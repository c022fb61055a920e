"""The gradient of a set of examples does not depend on how it is cut into batches and accumulation steps."""

import pytest
import torch
from conftest import PaddingCollator, random_rows, tiny_bert
from transformers import Trainer, TrainingArguments
from two_processes.cases import (
    CASES,
    NUM_ROWS,
    StepRecorder,
    expected_gradient,
    expected_task_loss,
    make_trainer,
    relative_difference,
)

cases = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
labelled_cases = pytest.mark.parametrize(
    "case",
    [case for case in CASES.values() if case.has_labels],
    ids=[name for name, case in CASES.items() if case.has_labels],
)


@pytest.fixture(scope="module")
def expected_steps():
    """The gradient and the loss of each step of 8 rows, computed row by row, once for each case."""
    known = {}

    def steps(case):
        name = next(name for name, other in CASES.items() if other is case)
        if name not in known:
            rows = list(case.rows())
            known[name] = [expected_gradient(case, rows[start : start + 8]) for start in range(0, NUM_ROWS, 8)]
        return known[name]

    return steps


@cases
@pytest.mark.parametrize(("batch_size", "accumulation"), [(8, 1), (2, 4), (4, 2)])
def test_batches_and_accumulation_do_not_matter(case, batch_size, accumulation, expected_steps, tmp_path):
    """Steps of 8 and 3 rows: the second one is uneven, with 2 + 1 rows or with 3."""
    trainer, recorder = make_trainer(
        case, tmp_path, per_device_train_batch_size=batch_size, gradient_accumulation_steps=accumulation
    )
    trainer.train()
    steps = expected_steps(case)
    assert len(recorder.gradients) == len(steps) == 2
    for found, (expected, _) in zip(recorder.gradients, steps, strict=True):
        assert relative_difference(found, expected) < 1e-5
    logged = [logs["loss"] for logs in trainer.state.log_history if "loss" in logs]
    assert logged == pytest.approx([loss for _, loss in steps], rel=1e-5)


@pytest.mark.parametrize("name", ["token", "example, hidden states", "next token"])
def test_padding_to_another_length_changes_nothing(name, tmp_path):
    case = CASES[name]
    gradients = []
    for length in (None, 20):
        trainer, recorder = make_trainer(
            case, tmp_path, collator=PaddingCollator(length), per_device_train_batch_size=8
        )
        trainer.train()
        gradients.append(torch.cat(recorder.gradients))
        eval_loss = trainer.evaluate()["eval_loss"]
        assert eval_loss == pytest.approx(expected_task_loss(case, list(case.rows())), rel=1e-5)
    assert relative_difference(gradients[1], gradients[0]) < 1e-5


@labelled_cases
def test_eval_loss_is_the_students_own_task_loss_for_any_batch_size(case, tmp_path):
    expected = expected_task_loss(case, list(case.rows()))
    for batch_size in (1, 4):
        trainer, _ = make_trainer(case, tmp_path, per_device_eval_batch_size=batch_size)
        assert trainer.evaluate()["eval_loss"] == pytest.approx(expected, rel=1e-5)


def test_eval_loss_during_training_is_the_same_as_after_it(tmp_path):
    """Also at the end of an epoch whose last batch is smaller, and for rows in another order."""
    case = CASES["token"]
    trainer, _ = make_trainer(
        case, tmp_path, per_device_train_batch_size=4, per_device_eval_batch_size=4, eval_strategy="epoch"
    )
    trainer.train()
    [logged] = [logs["eval_loss"] for logs in trainer.state.log_history if "eval_loss" in logs]
    assert logged == pytest.approx(expected_task_loss(case, list(case.rows())), rel=1e-5)
    assert trainer.evaluate(case.rows().shuffle(seed=3))["eval_loss"] == pytest.approx(logged, rel=1e-5)


def test_eval_loss_with_a_loader_of_ones_own(tmp_path):
    """At the end of an epoch the training loader is still open, and knows nothing about the rows of another one."""
    case = CASES["example"]
    trainer, _ = make_trainer(case, tmp_path, per_device_train_batch_size=4, eval_strategy="epoch")
    rows = list(case.rows())
    trainer.get_eval_dataloader = lambda dataset=None: [PaddingCollator()(rows[:6]), PaddingCollator()(rows[6:])]
    trainer.train()
    [logged] = [logs["eval_loss"] for logs in trainer.state.log_history if "eval_loss" in logs]
    assert logged == pytest.approx(expected_task_loss(case, rows), rel=1e-5)


def test_the_loss_of_a_single_batch_outside_of_training(tmp_path):
    case = CASES["example"]
    trainer, _ = make_trainer(case, tmp_path, per_device_train_batch_size=4)
    trainer.train()
    rows = list(case.rows())
    loss = trainer.compute_loss(trainer.model.eval(), PaddingCollator()(rows)).item()
    assert loss == pytest.approx(expected_task_loss(case, rows), rel=1e-5)
    loss = trainer.compute_loss(trainer.model.train(), PaddingCollator()(rows)).item()
    assert loss == pytest.approx(expected_gradient(case, rows)[1], rel=1e-5)


def test_the_fault_that_this_corrects(tmp_path):
    """Plain Trainer multiplies the gradient of an encoder's head by the number of accumulation steps."""

    def norm(batch_size, accumulation):
        recorder = StepRecorder()
        cut = {"per_device_train_batch_size": batch_size, "gradient_accumulation_steps": accumulation}
        quiet = {"use_cpu": True, "report_to": "none", "save_strategy": "no", "disable_tqdm": True}
        arguments = TrainingArguments(str(tmp_path), learning_rate=0.0, max_grad_norm=0.0, max_steps=1, **cut, **quiet)
        Trainer(
            tiny_bert(layers=2, problem_type="multi_label_classification"),
            arguments,
            train_dataset=random_rows(8).map(lambda row: {"labels": [1.0, 0.0, 0.0]}),
            data_collator=PaddingCollator(),
            callbacks=[recorder],
        ).train()
        return recorder.gradients[0].norm().item()

    assert norm(2, 4) / norm(8, 1) == pytest.approx(4, rel=1e-3)
