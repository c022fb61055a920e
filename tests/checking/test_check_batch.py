"""Values and gradients of one batch against a computation by hand."""

import math

import pytest
import torch
from conftest import PaddingCollator, random_rows, tiny_bert
from torch.nn import functional as F

from hf_distill import (
    DistillationObjective,
    HardTargets,
    HiddenStates,
    Schedule,
    SoftTargets,
    Stage,
    Stages,
    create_student,
)
from hf_distill.checking import check
from hf_distill.checking.balance import warnings_about_balance
from hf_distill.checking.one_batch import Moment, TermInBatch

OBJECTIVE = [
    SoftTargets(weight=0.5, temperature=2.0),
    HardTargets(weight=2.0),
    HiddenStates(weight=3.0, loss="mse", layer_mapping=[[1, 2]]),
]


def by_hand(student, teacher, rows):
    """The three terms of OBJECTIVE over all rows."""
    batch = PaddingCollator()(list(rows))
    labels = batch.pop("labels")
    with torch.no_grad():
        told = teacher(**batch, output_hidden_states=True)
    said = student(**batch, output_hidden_states=True)
    log_student, log_teacher = (F.log_softmax(item.logits / 2, dim=-1) for item in (said, told))
    divergence = 4 * (log_teacher.exp() * (log_teacher - log_student)).sum(-1).mean()
    errors = (said.hidden_states[1] - told.hidden_states[2]).pow(2).mean(-1)
    mask = batch["attention_mask"].bool()
    return {
        "soft_target_loss": divergence,
        "hard_target_loss": -F.log_softmax(said.logits, -1)[range(len(labels)), labels].mean(),
        "hidden_state_loss": errors[mask].sum() / mask.sum(),
    }


def flat_gradient(value, student):
    parts = torch.autograd.grad(value, list(student.parameters()), retain_graph=True, allow_unused=True)
    return torch.cat(
        [
            (torch.zeros_like(weight) if part is None else part).flatten()
            for part, weight in zip(parts, student.parameters(), strict=True)
        ]
    )


def test_values_norms_and_cosines_are_those_of_autograd_by_hand(new_trainer):
    teacher, rows = tiny_bert(), random_rows(8)
    student = create_student(teacher)
    trainer = new_trainer(DistillationObjective(OBJECTIVE), student, teacher, rows)
    (moment,) = check(trainer).batch.moments
    values = by_hand(student, teacher, rows)
    weights = {"soft_target_loss": 0.5, "hard_target_loss": 2.0, "hidden_state_loss": 3.0}
    gradients = {name: weights[name] * flat_gradient(value, student) for name, value in values.items()}
    total = sum(gradients.values())
    assert moment.gradient == pytest.approx(total.norm().item(), rel=1e-4)
    assert moment.value == pytest.approx(sum(weights[name] * value.item() for name, value in values.items()), rel=1e-5)
    for term in moment.terms:
        assert term.weight == weights[term.name]
        assert term.value == pytest.approx(values[term.name].item(), rel=1e-5)
        assert term.gradient == pytest.approx(gradients[term.name].norm().item(), rel=1e-4)
        cosine = F.cosine_similarity(gradients[term.name], total, dim=0).item()
        assert term.cosine == pytest.approx(cosine, abs=1e-4)


def test_a_batch_is_no_larger_than_in_training_and_drawn_from_the_seed(new_trainer):
    rows = random_rows(30)
    values = []
    for seed in (1, 1, 2):
        facts = check(new_trainer(rows=rows, seed=seed, per_device_train_batch_size=4)).batch
        assert facts.rows == 4
        values.append([term.value for term in facts.moments[0].terms])
    assert values[0] == values[1] != values[2]


def test_dropout_is_on_and_drawn_from_the_seed(new_trainer):
    teacher, rows = tiny_bert(dropout=0.5), random_rows(8)
    student = create_student(teacher)
    report = check(new_trainer(DistillationObjective(OBJECTIVE), student, teacher, rows))
    again = check(new_trainer(DistillationObjective(OBJECTIVE), student, teacher, rows))
    assert report.batch == again.batch
    without = by_hand(student.eval(), teacher, rows)["hidden_state_loss"].item()
    assert abs(report.batch.moments[0].terms[2].value - without) > 0.01


def test_stages_and_schedules_are_tried_where_they_begin_and_end(new_trainer):
    first = DistillationObjective([HiddenStates(weight=Schedule(0.0, 2.0), layer_mapping="auto"), HardTargets()])
    stages = Stages([Stage(first, 0.25, 1e-3, "layers"), Stage(DistillationObjective([SoftTargets()]), 0.75)])
    report = check(new_trainer(stages))
    begin, end, second = report.batch.moments
    assert [(item.stage, item.when) for item in (begin, end, second)] == [
        ("layers", "at its beginning"),
        ("layers", "at its end"),
        ("stage 2", ""),
    ]
    assert [item.terms[0].weight for item in (begin, end)] == [0.0, 2.0]
    assert begin.terms[0].gradient == 0 < end.terms[0].gradient
    assert begin.gradient == pytest.approx(begin.terms[1].gradient)
    assert end.gradient != pytest.approx(begin.gradient)
    text = str(report)
    assert "stage 1 of 2 (layers): 25 % of the steps, learning rate 0.001" in text
    assert "stage 2 of 2: 75 % of the steps" in text
    assert "0 to 2, linear" in text
    assert not any("hidden_state_loss" in line for line in report.warnings if "beginning" in line)


def test_a_term_that_drowns_another_is_told_with_the_weight_that_balances_them(new_trainer):
    teacher = tiny_bert()
    student, rows = create_student(teacher), random_rows(8)
    terms = [SoftTargets(weight=0.5), HardTargets(weight=2000.0)]
    report = check(new_trainer(DistillationObjective(terms), student, teacher, rows))
    (warning,) = report.warnings
    soft, hard = report.batch.moments[0].terms
    assert warning.startswith("hard_target_loss, of weight 2000") and "drowns soft_target_loss" in warning
    balanced = float(warning.split("as long at a weight of ")[1].split()[0])
    assert balanced == pytest.approx(2000 * soft.gradient / hard.gradient, rel=1e-2)
    assert str(report).count("Ready, with 1 warning:") == 1
    terms = [SoftTargets(weight=0.5), HardTargets(weight=balanced)]
    report = check(new_trainer(DistillationObjective(terms), student, teacher, rows))
    soft, hard = report.batch.moments[0].terms
    assert soft.gradient == pytest.approx(hard.gradient, rel=1e-2)
    assert report.warnings == () and str(report).endswith("\n\nReady.")


def moment(*terms):
    return Moment("", "", tuple(TermInBatch(name, weight, 1.0, norm, 0.5) for name, weight, norm in terms), 1.0)


def test_what_is_drowned_begins_above_ten_to_one():
    assert warnings_about_balance([moment(("a", 1.0, 10.0), ("b", 1.0, 1.0))]) == []
    assert len(warnings_about_balance([moment(("a", 1.0, 10.1), ("b", 1.0, 1.0))])) == 1
    assert warnings_about_balance([moment(("a", 1.0, 10.1), ("b", 1.0, 1.0))], frozenset({"b"})) == []
    assert warnings_about_balance([moment(("a", 1.0, 10.1), ("b", 0.0, 0.0))]) == []


def test_terms_without_a_gradient_and_without_a_value_are_told():
    (warning,) = warnings_about_balance([moment(("a", 1.0, 1.0), ("b", 1.0, 0.0))])
    assert warning.startswith("b gives the student no gradient")
    (warning,) = warnings_about_balance([moment(("a", 1.0, 1.0), ("b", 1.0, math.inf))])
    assert warning.startswith("b is 1 and its gradient inf")


def test_a_frozen_student_gets_no_gradient(new_trainer):
    teacher = tiny_bert()
    student = create_student(teacher)
    student.bert.requires_grad_(False)
    terms = [HardTargets(), HiddenStates(layer_mapping=[[1, 2]])]
    report = check(new_trainer(DistillationObjective(terms), student, teacher))
    assert [term.gradient > 0 for term in report.batch.moments[0].terms] == [True, False]
    assert "hidden_state_loss gives the student no gradient" in report.warnings[0]


def test_a_run_that_goes_on_leaves_the_batch_out(new_trainer):
    report = check(new_trainer(resume_from_checkpoint=True))
    assert report.batch is None
    assert "One batch: left out, since the run goes on from a checkpoint" in str(report)
