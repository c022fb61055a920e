import pytest
import torch

from hf_distill.errors import InputError
from hf_distill.losses.counted_items import find_counted_items
from hf_distill.objectives import (
    DistillationObjective,
    HardTargets,
    HiddenStates,
    Schedule,
    SoftTargets,
    Stage,
    Stages,
)
from hf_distill.objectives.micro_batch import MicroBatch
from hf_distill.objectives.soft_targets import SOFT_TARGET_LOSSES
from hf_distill.objectives.stage_schedule import scheduler_of_stages
from hf_distill.problem_type import ProblemType
from hf_distill.signals import MixedLogits, Signals


def random_logits(seed):
    return 3 * torch.randn(6, 4, generator=torch.Generator().manual_seed(seed))


def micro_batch(problem_type):
    labels = torch.zeros(6, 4) if problem_type is ProblemType.MULTI_LABEL else torch.zeros(6, dtype=torch.long)
    counted = find_counted_items({"labels": labels}, problem_type, False, False)
    return MicroBatch(labels, counted, counted.counts(), problem_type)


def soft_targets():
    for loss in SOFT_TARGET_LOSSES:
        for weigh in (False, True) if loss != "dist" else (False,):
            for problem_type in (ProblemType.SINGLE_LABEL, ProblemType.MULTI_LABEL):
                if loss != "dist" or problem_type is ProblemType.SINGLE_LABEL:
                    yield pytest.param(loss, weigh, problem_type, id=f"{loss}-{weigh}-{problem_type.value}")


@pytest.mark.parametrize(("loss", "weigh", "problem_type"), soft_targets())
def test_a_teacher_twice_teaches_what_it_teaches_once(loss, weigh, problem_type):
    term = SoftTargets(temperature=4.0, loss=loss, weigh_by_confidence=weigh)
    student, logits, batch = Signals(random_logits(0)), random_logits(1), micro_batch(problem_type)
    once = term(student, Signals(logits), batch)
    twice = term(student, Signals(None, mixed=MixedLogits((logits, logits), (0.3, 0.7))), batch)
    torch.testing.assert_close(twice, once, rtol=1e-4, atol=1e-5)


def test_the_squared_error_of_several_teachers_is_to_the_mean_of_their_logits():
    first, second, student = random_logits(1), random_logits(2), random_logits(0)
    mixed = Signals(None, mixed=MixedLogits((first, second), (0.25, 0.75)))
    found = SoftTargets(loss="mse")(Signals(student), mixed, micro_batch(ProblemType.SINGLE_LABEL))
    torch.testing.assert_close(found, ((student - (0.25 * first + 0.75 * second)) ** 2).mean())


def test_what_does_not_fit_a_task_is_refused_before_its_first_batch():
    with pytest.raises(InputError, match="dist.*regression"):
        Stages.of(DistillationObjective([SoftTargets(loss="dist")])).check_problem(ProblemType.REGRESSION)
    with pytest.raises(InputError, match="weigh_by_confidence.*regression"):
        Stages.of(DistillationObjective([SoftTargets(weigh_by_confidence=True)])).check_problem(ProblemType.REGRESSION)
    with pytest.raises(InputError, match="weigh_by_confidence.*dist"):
        SoftTargets(loss="dist", weigh_by_confidence=True)


@pytest.mark.parametrize(
    ("weights", "share"),
    [
        ([Schedule(0.0, 1.0)], "0 %"),
        ([Schedule(1.0, 0.0, "step", begin=0.3), Schedule(0.0, 1.0, "step", begin=0.31)], "30 %"),
        ([Schedule(1.0, 0.0, finish=0.5)], "50 %"),
    ],
)
def test_schedules_that_leave_nothing_to_learn_are_refused_at_once(weights, share):
    terms = [SoftTargets(weight=weight, name=f"term {number}") for number, weight in enumerate(weights)]
    with pytest.raises(InputError, match=f"After {share}"):
        DistillationObjective(terms)
    DistillationObjective([*terms, HardTargets()])


def test_a_weight_that_ends_at_zero_may_go_there_with_the_last_step():
    objective = DistillationObjective([HiddenStates(weight=Schedule(1.0, 0.0))])
    assert objective.at(0.999).terms[0].weight == pytest.approx(0.001)


def test_a_stage_without_a_step_is_refused():
    from transformers import TrainingArguments

    stages = Stages(
        [Stage(DistillationObjective([HardTargets()]), share, name=f"of {share}") for share in (0.01, 0.99)]
    )
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    with pytest.raises(InputError, match="40 steps.*of 0.01.*none"):
        scheduler_of_stages(stages, TrainingArguments("unused", use_cpu=True), optimizer, 40)
