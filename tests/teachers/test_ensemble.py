import copy

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from conftest import PaddingCollator, random_rows, tiny_bert
from scipy.special import expit, log_expit, log_softmax, softmax
from tiny_tasks import TASKS, collator_for
from transformers import BertForMaskedLM, default_data_collator
from two_processes.cases import StepRecorder

from hf_distill import DistillationTrainer
from hf_distill.errors import InputError
from hf_distill.signal_needs import NOTHING_ELSE
from hf_distill.signals import Signals
from hf_distill.teachers import LiveTeacher
from hf_distill.teachers.cache import cache_teacher_outputs
from hf_distill.teachers.ensemble import TeacherEnsemble
from hf_distill.teachers.sparse_sampling import SparseSampling

TEMPERATURE = 2.0
WEIGHTS = (1.0, 3.0)


def batch_of(rows):
    return (collator_for(rows) or default_data_collator)(list(rows))


def teachers_like(build):
    return [build(layers=2, seed=2), build(layers=3, seed=3)]


def naive_soft_target_loss(student, teachers, weights, labels, problem):
    """The divergence from the mixture, averaged over the labelled answers, in double precision."""
    student, *teachers = (logits.detach().double().numpy() / TEMPERATURE for logits in (student, *teachers))
    weights = np.array(weights) / sum(weights)

    def mixture(answer):
        return sum(weight * answer(teacher) for weight, teacher in zip(weights, teachers, strict=True))

    if problem == "score":
        return ((student - mixture(lambda score: score)) ** 2).mean() * TEMPERATURE**2
    if problem == "several labels":
        p = mixture(expit)
        on, off = np.log(p) - log_expit(student), np.log1p(-p) - log_expit(-student)
        return (p * on + (1 - p) * off).mean() * TEMPERATURE**2
    p = mixture(lambda scaled: softmax(scaled, -1))
    divergences = (p * (np.log(p) - log_softmax(student, -1))).sum(-1)
    if problem.startswith("next token"):
        divergences, labels = divergences[:, :-1], labels[:, 1:]
    return divergences[labels.numpy() != -100].mean() * TEMPERATURE**2


@pytest.fixture
def train_a_step(make_arguments):
    def train(student, teacher, rows, **arguments):
        recorder = StepRecorder()
        trainer = DistillationTrainer(
            model=student,
            teacher_model=teacher,
            args=make_arguments(temperature=TEMPERATURE, logging_steps=1, max_steps=1, max_grad_norm=0.0, **arguments),
            train_dataset=rows,
            data_collator=collator_for(rows),
            callbacks=[recorder],
        )
        trainer.train()
        return trainer.state.log_history[0], recorder.gradients[0]

    return train


@pytest.mark.parametrize("task", TASKS)
def test_a_step_of_training_on_the_weighted_mean(task, train_a_step):
    build, make_rows = TASKS[task]
    rows, student, teachers = make_rows(8), build(layers=1, seed=1), teachers_like(build)
    batch = batch_of(rows)
    logits = [model(**batch).logits for model in (student, *teachers)]
    expected = naive_soft_target_loss(logits[0], logits[1:], WEIGHTS, batch["labels"], task)
    logged, _ = train_a_step(student, TeacherEnsemble(teachers, WEIGHTS), rows)
    assert logged["soft_target_loss"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("number", [1, 3])
@pytest.mark.parametrize("task", ["classes", "score", "several labels", "next token, GPT-2"])
def test_one_teacher_or_equal_ones_teach_as_one(task, number, train_a_step):
    build, make_rows = TASKS[task]
    rows, student, teacher = make_rows(8), build(layers=1, seed=1), build(layers=3, seed=2)
    copies = [copy.deepcopy(teacher) for _ in range(number)]
    ensemble_log, ensemble_gradient = train_a_step(copy.deepcopy(student), TeacherEnsemble(copies), rows)
    log, gradient = train_a_step(student, teacher, rows)
    assert ensemble_log["loss"] == pytest.approx(log["loss"], rel=1e-5)
    torch.testing.assert_close(ensemble_gradient, gradient, rtol=1e-4, atol=1e-6)


def test_the_gradient_is_the_weighted_mean_of_the_teachers_gradients(train_a_step):
    student, teachers, rows = tiny_bert(layers=1, seed=1), teachers_like(tiny_bert), random_rows(8)
    soft = {"hard_target_weight": 0.0}
    singles = [train_a_step(copy.deepcopy(student), copy.deepcopy(teacher), rows, **soft)[1] for teacher in teachers]
    _, gradient = train_a_step(student, TeacherEnsemble(teachers, WEIGHTS), rows, **soft)
    torch.testing.assert_close(gradient, 0.25 * singles[0] + 0.75 * singles[1], rtol=1e-4, atol=1e-6)


def test_each_teacher_may_number_the_classes_in_its_own_way():
    names = {0: "a", 1: "b", 2: "c"}
    student = tiny_bert(layers=1, seed=1, id2label=names)
    models = [tiny_bert(id2label=names), tiny_bert(seed=2, id2label={0: "C", 1: "A", 2: "B"})]
    batch = PaddingCollator()(list(random_rows(4, with_labels=False)))
    expected = [models[0](**batch).logits, models[1](**batch).logits[:, [1, 2, 0]]]
    ensemble = TeacherEnsemble(models)
    ensemble.pair_with(student, NOTHING_ELSE)
    ensemble.prepare(Accelerator(cpu=True), torch.device("cpu"))
    signals = ensemble(batch)
    for logits, right in zip(signals.mixed.logits, expected, strict=True):
        torch.testing.assert_close(logits, right, rtol=0, atol=0)
        assert not logits.requires_grad
    assert signals.mixed.weights == (0.5, 0.5)


def test_each_teacher_is_prepared_as_the_training_needs_it(make_arguments):
    models = teachers_like(tiny_bert)
    DistillationTrainer(
        model=tiny_bert(layers=1), teacher_model=TeacherEnsemble(models), args=make_arguments(bf16=True)
    )
    assert [model.dtype for model in models] == [torch.bfloat16] * 2


@pytest.mark.parametrize("task", ["classes", "masked tokens", "next token, GPT-2"])
def test_live_and_cached_teachers_stand_side_by_side(task, train_a_step, tmp_path):
    build, make_rows = TASKS[task]
    student, rows, models = build(layers=1, seed=1), make_rows(8), teachers_like(build)
    caches = [
        cache_teacher_outputs(model, rows, tmp_path / str(number), collator_for(rows), batch_size=3)
        for number, model in enumerate(models)
    ]
    live = train_a_step(copy.deepcopy(student), TeacherEnsemble(models, WEIGHTS), rows)
    for members in (caches, [caches[0], models[1]], [models[0], caches[1]]):
        log, gradient = train_a_step(copy.deepcopy(student), TeacherEnsemble(members, WEIGHTS), rows)
        assert log["soft_target_loss"] == pytest.approx(live[0]["soft_target_loss"], rel=1e-5)
        torch.testing.assert_close(gradient, live[1], rtol=1e-4, atol=1e-6)


def test_it_reads_what_any_of_its_teachers_reads(tmp_path):
    model, rows = tiny_bert(), random_rows(4)
    cache = cache_teacher_outputs(tiny_bert(seed=2), rows, tmp_path, PaddingCollator(), batch_size=4)
    assert TeacherEnsemble([model, cache]).input_names == LiveTeacher(model).input_names | cache.input_names


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0], "2 teachers and 1 weights"),
        ([1.0, 0.0], r"\[1.0, 0.0\].*above 0"),
        ([1.0, -1.0], "above 0"),
        ([1.0, float("nan")], "above 0"),
        ([1.0, float("inf")], "above 0"),
    ],
)
def test_weights_that_do_not_fit_are_refused(weights, message):
    with pytest.raises(InputError, match=message):
        TeacherEnsemble([tiny_bert(), tiny_bert()], weights)


def test_only_the_ratios_of_the_weights_matter():
    assert TeacherEnsemble([tiny_bert()] * 3).weights == pytest.approx([1 / 3] * 3)
    assert TeacherEnsemble([tiny_bert()] * 2, [2, 6]).weights == (0.25, 0.75)


def test_no_teachers_are_refused():
    with pytest.raises(InputError, match="no teachers"):
        TeacherEnsemble([])


def test_hidden_states_of_several_teachers_are_refused(make_arguments):
    with pytest.raises(InputError, match="compares more than answers, and there are 2 teachers.*no mean"):
        DistillationTrainer(
            model=tiny_bert(layers=1),
            teacher_model=TeacherEnsemble(teachers_like(tiny_bert)),
            args=make_arguments(hidden_state_weight=0.1),
        )


def test_the_teacher_that_does_not_fit_is_numbered():
    ensemble = TeacherEnsemble([tiny_bert(), tiny_bert(num_labels=4)])
    with pytest.raises(InputError, match="Teacher 2 of 2: .*different number of classes"):
        ensemble.pair_with(tiny_bert(layers=1), NOTHING_ELSE)


class Sampled(LiveTeacher):
    """A teacher that answers with sampled tokens."""

    def __call__(self, inputs, needs=NOTHING_ELSE):
        logits = super().__call__(inputs).logits
        return Signals(None, sparse=SparseSampling(2, 3, TEMPERATURE, seed=0)(logits, seed=0))


def test_sampled_answers_are_refused():
    ensemble = TeacherEnsemble([tiny_bert(cls=BertForMaskedLM), Sampled(tiny_bert(cls=BertForMaskedLM))])
    with pytest.raises(InputError, match="sampled tokens.*use one teacher"):
        ensemble(PaddingCollator()(list(random_rows(2))))
