"""What a teacher adds, for every kind of task."""

import copy

import pytest
import torch
from conftest import VOCABULARY, PaddingCollator, random_rows, tiny_bert
from datasets import Dataset
from tiny_tasks import TASKS, collator_for
from torch import nn
from transformers import (
    BertForMultipleChoice,
    BertForQuestionAnswering,
    GPT2LMHeadModel,
    LlamaForCausalLM,
    default_data_collator,
    set_seed,
)
from two_processes.cases import StepRecorder

from hf_distill import DistillationTrainer
from hf_distill.errors import InputError

TAUGHT = {name: task for name, task in TASKS.items() if name not in ("score", "several labels")}


def answer(model, batch):
    """The logits and the last hidden state of the part of the model that answers, from the model's own labels."""
    output = model(**batch, output_hidden_states=True)
    return output.logits, (output.get("decoder_hidden_states") or output.hidden_states)[-1]


@pytest.mark.parametrize(("build", "make_rows"), TAUGHT.values(), ids=TAUGHT)
def test_the_teachers_terms(build, make_rows, make_arguments):
    """Against the formulas, over the labelled answers; causal language models answer for the next token."""
    rows = make_rows(8)
    student, teacher = build(layers=1, seed=1), build(layers=3, seed=2)
    batch = (collator_for(rows) or default_data_collator)(list(rows))
    (logits, states), (teacher_logits, teacher_states) = answer(student, batch), answer(teacher, batch)
    labels = batch["labels"]
    if isinstance(student, (GPT2LMHeadModel, LlamaForCausalLM)):
        logits, teacher_logits, labels = logits[:, :-1], teacher_logits[:, :-1], labels[:, 1:]
    p, log_p = (teacher_logits / 2).softmax(-1), (teacher_logits / 2).log_softmax(-1)
    soft = (4 * p * (log_p - (logits / 2).log_softmax(-1))).sum(-1)[labels != -100].mean().item()
    distance = 1 - nn.functional.cosine_similarity(states, teacher_states, dim=-1)
    if student.config.is_encoder_decoder and batch["labels"].dim() == 2:
        distance = distance[batch["labels"] != -100]
    elif "attention_mask" in batch:
        distance = distance[batch["attention_mask"] == 1]

    trainer = DistillationTrainer(
        model=student,
        teacher_model=teacher,
        args=make_arguments(logging_steps=1, max_steps=1, hidden_state_weight=0.1),
        train_dataset=rows,
        data_collator=collator_for(rows),
    )
    trainer.train()
    logged = trainer.state.log_history[0]
    assert logged["soft_target_loss"] == pytest.approx(soft, rel=1e-4)
    assert logged["hidden_state_loss"] == pytest.approx(distance.mean().item(), rel=1e-4)


@pytest.mark.parametrize(("build", "make_rows"), TASKS.values(), ids=TASKS)
def test_a_student_that_equals_its_teacher_has_nothing_to_learn(build, make_rows, make_arguments):
    student, rows = build(layers=2), make_rows(8)
    recorder = StepRecorder()
    trainer = DistillationTrainer(
        model=student,
        teacher_model=copy.deepcopy(student),
        args=make_arguments(logging_steps=1, hard_target_weight=0.0, max_grad_norm=0.0, max_steps=1),
        train_dataset=rows,
        data_collator=collator_for(rows),
        callbacks=[recorder],
    )
    trainer.train()
    assert trainer.state.log_history[0]["soft_target_loss"] == pytest.approx(0, abs=1e-6)
    assert recorder.gradients[0].abs().max() < 1e-5


def test_without_labels_multi_label_and_regression_follow_the_configuration(make_arguments):
    for problem_type, num_labels in (("multi_label_classification", 6), ("regression", 1)):
        options = {"num_labels": num_labels, "problem_type": problem_type}
        student, teacher = tiny_bert(layers=1, seed=1, **options), tiny_bert(layers=3, seed=2, **options)
        rows = random_rows(8, with_labels=False, longest=6)
        batch = PaddingCollator()(list(rows))
        z, v = student(**batch).logits, teacher(**batch).logits
        expected = (z - v).pow(2).mean().item()
        if num_labels > 1:
            p, q = torch.sigmoid(v / 2), torch.sigmoid(z / 2)
            expected = 4 * (p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()).mean().item()
        trainer = DistillationTrainer(
            model=student,
            teacher_model=teacher,
            args=make_arguments(logging_steps=1, hard_target_weight=0.0, max_steps=1),
            train_dataset=rows,
            data_collator=PaddingCollator(),
        )
        trainer.train()
        assert trainer.state.log_history[0]["soft_target_loss"] == pytest.approx(expected, rel=1e-4)


def test_choices_of_an_example_exclude_each_other(make_arguments):
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(1, VOCABULARY, (8, 4, 6), generator=generator)
    rows = Dataset.from_dict({"input_ids": tokens.tolist(), "labels": [0, 1, 2, 3] * 2})
    student, teacher = (tiny_bert(layers=1, seed=seed, cls=BertForMultipleChoice) for seed in (1, 2))
    z, v = student(tokens).logits, teacher(tokens).logits
    soft = (4 * (v / 2).softmax(-1) * ((v / 2).log_softmax(-1) - (z / 2).log_softmax(-1))).sum(-1).mean().item()
    hard = nn.functional.cross_entropy(z, torch.tensor(rows["labels"])).item()
    args = make_arguments(logging_steps=1, max_steps=1)
    trainer = DistillationTrainer(model=student, teacher_model=teacher, args=args, train_dataset=rows)
    trainer.train()
    assert trainer.state.log_history[0]["soft_target_loss"] == pytest.approx(soft, rel=1e-4)
    assert trainer.state.log_history[0]["hard_target_loss"] == pytest.approx(hard, rel=1e-4)


class BagOfWords(nn.Module):
    """A student that is no transformer, takes no labels and returns nothing but logits."""

    def __init__(self, returns=lambda logits: logits):
        super().__init__()
        set_seed(0)
        self.embedding, self.head, self.returns = nn.Embedding(VOCABULARY, 8), nn.Linear(8, 3), returns

    def forward(self, input_ids, attention_mask):
        words = self.embedding(input_ids) * attention_mask[..., None]
        return self.returns(self.head(words.sum(1)))


@pytest.mark.parametrize(
    "returns",
    [lambda logits: logits, lambda logits: (logits,), lambda logits: {"logits": logits}],
    ids=["tensor", "tuple", "mapping"],
)
def test_a_module_of_ones_own_learns_and_is_evaluated(returns, make_arguments):
    rows, teacher = random_rows(8, with_token_type_ids=True), tiny_bert()
    student = BagOfWords(returns)
    batch = PaddingCollator()(list(rows))
    logits, labels = (
        student.head((student.embedding(batch["input_ids"]) * batch["attention_mask"][..., None]).sum(1)),
        batch["labels"],
    )
    expected = nn.functional.cross_entropy(logits, labels).item()
    trainer = DistillationTrainer(
        model=student,
        teacher_model=teacher,
        args=make_arguments(logging_steps=1, max_steps=1, per_device_eval_batch_size=3),
        train_dataset=rows,
        eval_dataset=rows,
        data_collator=PaddingCollator(),
        compute_metrics=lambda prediction: {"shape": list(prediction.predictions.shape)},
    )
    metrics = trainer.evaluate()
    assert metrics["eval_loss"] == pytest.approx(expected, rel=1e-5)
    assert metrics["eval_shape"] == [8, 3]
    trainer.train()
    assert trainer.state.log_history[0]["hard_target_loss"] == pytest.approx(expected, rel=1e-5)


def test_label_smoothing_of_a_score_is_refused(make_arguments):
    args = make_arguments(label_smoothing_factor=0.1, soft_target_weight=0.0)
    with pytest.raises(InputError, match="label_smoothing_factor is 0.1.*regression.*set it to 0"):
        DistillationTrainer(model=tiny_bert(num_labels=1), args=args)


def test_a_head_without_logits_is_refused(make_arguments):
    rows = random_rows(8, with_labels=False)
    trainer = DistillationTrainer(
        model=tiny_bert(2, layers=1, cls=BertForQuestionAnswering),
        teacher_model=tiny_bert(2, cls=BertForQuestionAnswering),
        args=make_arguments(hard_target_weight=0.0),
        train_dataset=rows,
        data_collator=PaddingCollator(),
    )
    with pytest.raises(InputError, match="start_logits, end_logits and no `logits`"):
        trainer.train()


def test_unequal_widths_are_projected(make_arguments):
    student, teacher = tiny_bert(layers=1, hidden_size=16), tiny_bert()
    args = make_arguments(hidden_state_weight=0.1)
    trainer = DistillationTrainer(model=student, teacher_model=teacher, args=args)
    assert [tuple(weight.shape) for weight in trainer.projections.parameters] == [(32, 16), (32,)]


def test_missing_labels_are_refused(make_arguments):
    rows = random_rows(8, with_labels=False)
    data = {"train_dataset": rows, "data_collator": PaddingCollator()}
    trainer = DistillationTrainer(model=tiny_bert(layers=1), teacher_model=tiny_bert(), args=make_arguments(), **data)
    with pytest.raises(InputError, match="no `labels`"):
        trainer.train()
