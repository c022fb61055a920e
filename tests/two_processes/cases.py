"""Trainings that must come out the same however their rows are cut, and what each step's gradient should be.

The expected gradients are computed row by row without padding, and target by target, by the definitions of the terms.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from conftest import VOCABULARY, PaddingCollator, random_rows, tiny_bert
from datasets import Dataset
from torch import nn
from transformers import (
    BertForMaskedLM,
    BertForTokenClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    T5Config,
    T5ForConditionalGeneration,
    TrainerCallback,
    set_seed,
)

from hf_distill import DistillationTrainer, DistillationTrainingArguments

NUM_ROWS = 11
TEMPERATURE = 3.0


@dataclass(frozen=True)
class Case:
    """One kind of task.

    Attributes:
        build: Gives the student and the teacher.
        rows: Gives the training rows; evaluation takes the same ones if they have labels.
        targets: From a row's labels and the length of its logits, the pairs (place in the logits, label) that count.
        weights: Of the soft, the hard and the hidden-state term.
    """

    build: Callable[[], tuple[nn.Module, nn.Module]]
    rows: Callable[[], Dataset]
    targets: Callable[[object, int], list[tuple[int | None, object]]]
    weights: tuple[float, float, float] = (0.6, 0.3, 0.0)
    kind: str = "classes"
    arguments: dict = field(default_factory=dict)

    @property
    def has_labels(self) -> bool:
        return "labels" in self.rows().column_names


def pair_of(student_options=None, **options):
    def build():
        student = tiny_bert(layers=2, seed=1, **{**options, **(student_options or {})})
        return student, tiny_bert(layers=3, seed=2, **options)

    return build


def distilbert_of_bert():
    set_seed(1)
    sizes = {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 37, "max_position_embeddings": 64}
    no_dropout = {"dropout": 0.0, "attention_dropout": 0.0, "seq_classif_dropout": 0.0, "initializer_range": 0.3}
    config = DistilBertConfig(vocab_size=VOCABULARY, num_labels=3, **sizes, **no_dropout)
    return DistilBertForSequenceClassification(config), tiny_bert(layers=3, seed=2)


def tiny_gpt2(layers, seed):
    set_seed(seed)
    no_dropout = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0, "initializer_range": 0.3}
    sizes = {"n_positions": 64, "n_embd": 32, "n_layer": layers, "n_head": 4}
    return GPT2LMHeadModel(GPT2Config(vocab_size=VOCABULARY, **sizes, **no_dropout))


def tiny_t5(layers, seed):
    set_seed(seed)
    sizes = {"d_model": 32, "d_kv": 8, "d_ff": 37, "num_layers": layers, "num_heads": 4}
    return T5ForConditionalGeneration(
        T5Config(vocab_size=VOCABULARY, dropout_rate=0.0, decoder_start_token_id=0, initializer_factor=1.0, **sizes)
    )


def with_labels(make_label):
    return lambda: random_rows(NUM_ROWS).map(lambda row, index: {"labels": make_label(row, index)}, with_indices=True)


def several_labels(row, index):
    """Which of 3 labels hold; -100 where nobody knows."""
    return [float(index % 2), -100.0 if index % 3 else 1.0, float(index % 4 == 0)]


def one_target(labels, length):
    return [(None, labels)]


def labelled_tokens(labels, length):
    return [(place, label) for place, label in enumerate(labels) if label != -100]


def next_tokens(labels, length):
    return [(place - 1, label) for place, label in enumerate(labels) if place > 0 and label != -100]


def all_tokens(labels, length):
    return [(place, None) for place in range(length)]


CASES = {
    "example": Case(pair_of(), lambda: random_rows(NUM_ROWS), one_target),
    "example, smoothed": Case(
        pair_of(), lambda: random_rows(NUM_ROWS), one_target, arguments={"label_smoothing_factor": 0.2}
    ),
    "example, some without a label": Case(
        pair_of(), with_labels(lambda row, index: -100 if index % 3 == 1 else index % 3), one_target
    ),
    "example, hidden states": Case(pair_of(), lambda: random_rows(NUM_ROWS), one_target, (0.6, 0.3, 0.5)),
    "example, other inputs": Case(
        distilbert_of_bert, lambda: random_rows(NUM_ROWS, with_token_type_ids=True), one_target, (0.6, 0.3, 0.5)
    ),
    "example, no labels": Case(
        pair_of(), lambda: random_rows(NUM_ROWS, with_labels=False), one_target, (0.6, 0.0, 0.5)
    ),
    "token": Case(
        pair_of(cls=BertForTokenClassification),
        lambda: random_rows(NUM_ROWS, per_token=True),
        labelled_tokens,
        (0.6, 0.3, 0.5),
    ),
    "token, no labels": Case(
        pair_of(cls=BertForMaskedLM), lambda: random_rows(NUM_ROWS, with_labels=False), all_tokens, (0.6, 0.0, 0.0)
    ),
    "next token": Case(
        lambda: (tiny_gpt2(2, 1), tiny_gpt2(3, 2)),
        with_labels(lambda row, index: row["input_ids"]),
        next_tokens,
        (0.6, 0.3, 0.5),
    ),
    "sequence to sequence": Case(
        lambda: (tiny_t5(1, 1), tiny_t5(2, 2)),
        with_labels(
            lambda row, index: row["input_ids"][: 2 + index % 3] + [-100] * (len(row["input_ids"]) - 2 - index % 3)
        ),
        labelled_tokens,
        (0.6, 0.3, 0.5),
    ),
    "score": Case(
        pair_of(num_labels=1), with_labels(lambda row, index: index / 4 - 100 * (index == 2)), one_target, kind="score"
    ),
    "score, some without a label": Case(
        pair_of(num_labels=1),
        with_labels(lambda row, index: math.nan if index % 3 == 1 else index / 4),
        one_target,
        kind="score",
    ),
    "several labels": Case(pair_of(), with_labels(several_labels), one_target, kind="several"),
}


class StepRecorder(TrainerCallback):
    """Keeps the gradient of every optimiser step, one flat vector for each."""

    def __init__(self):
        self.gradients = []

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        self.gradients.append(torch.cat([weight.grad.flatten().clone() for weight in model.parameters()]))


def make_trainer(case, output_dir, collator=None, **arguments):
    """A trainer whose learning rate is 0, so that every step's gradient is taken at the same weights."""
    student, teacher = case.build()
    names = ("soft_target_weight", "hard_target_weight", "hidden_state_weight")
    defaults = {
        "use_cpu": True,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
        "learning_rate": 0.0,
        "max_grad_norm": 0.0,
        "num_train_epochs": 1,
        "logging_steps": 1,
        "train_sampling_strategy": "sequential",
        "temperature": TEMPERATURE,
        **dict(zip(names, case.weights, strict=True)),
    }
    rows = case.rows()
    recorder = StepRecorder()
    trainer = DistillationTrainer(
        model=student,
        teacher_model=teacher,
        args=DistillationTrainingArguments(str(output_dir), **{**defaults, **case.arguments, **arguments}),
        train_dataset=rows,
        eval_dataset=rows,
        data_collator=collator or PaddingCollator(),
        callbacks=[recorder],
    )
    return trainer, recorder


def relative_difference(found, expected):
    return ((found - expected).norm() / expected.norm()).item()


# ---- By definition ----


def expected_gradient(case, rows):
    """The gradient of the average over everything that counts in ``rows``, from one row at a time."""
    student, teacher = (model.eval() for model in case.build())
    terms = {"soft": [], "hard": [], "hidden": []}
    for row in rows:
        labels = row.get("labels")
        (student_logits, student_states), (teacher_logits, teacher_states) = answers(student, teacher, row)
        for place, label in case.targets(labels, len(row["input_ids"])):
            pair = [logits if place is None else logits[place] for logits in (student_logits, teacher_logits)]
            for name, value in target_terms(case, *pair, label):
                terms[name].append(value)
        for student_state, teacher_state in zip(student_states, teacher_states, strict=True):
            lengths = student_state.norm() * teacher_state.norm()
            terms["hidden"].append(1 - student_state @ teacher_state / lengths)
    weighted = zip(case.weights, terms.values(), strict=True)
    loss = sum(weight * torch.stack(values).mean() for weight, values in weighted if weight > 0)
    loss.backward()
    return torch.cat([weight.grad.flatten() for weight in student.parameters()]), loss.item()


def expected_task_loss(case, rows):
    """The average of the hard term alone."""
    student, teacher = (model.eval() for model in case.build())
    values = []
    for row in rows:
        (student_logits, _), _ = answers(student, teacher, row)
        for place, label in case.targets(row["labels"], len(row["input_ids"])):
            logits = student_logits if place is None else student_logits[place]
            values += [value for name, value in target_terms(case, logits, logits, label) if name == "hard"]
    return torch.stack(values).mean().item()


def answers(student, teacher, row):
    """The logits and the last hidden states of both for one row, as long as it is."""
    inputs = {name: torch.tensor([value]) for name, value in row.items() if name != "labels"}
    for model in (student, teacher):
        own = dict(inputs)
        if isinstance(model, DistilBertForSequenceClassification):
            own.pop("token_type_ids")
        if isinstance(model, T5ForConditionalGeneration):
            target = [label for label in row["labels"] if label != -100]
            own["decoder_input_ids"] = torch.tensor([[0, *target[:-1]]])
        with torch.set_grad_enabled(model is student):
            output = model(**own, output_hidden_states=True)
        states = output.get("decoder_hidden_states") or output["hidden_states"]
        yield output["logits"][0], states[-1][0]


def target_terms(case, student_logits, teacher_logits, label):
    """The soft and the hard value of one target, or of each label where there are several."""
    if case.kind == "score":
        yield "soft", (student_logits[0] - teacher_logits[0]) ** 2
        if not math.isnan(label):
            yield "hard", (student_logits[0] - label) ** 2
    elif case.kind == "several":
        for student_logit, teacher_logit, known in zip(student_logits, teacher_logits, label, strict=True):
            if known != -100:
                pair = [torch.stack([logit, logit * 0]) for logit in (student_logit, teacher_logit)]
                yield "soft", divergence(*pair)
                yield "hard", -torch.log_softmax(pair[0], -1)[0 if known else 1]
    else:
        yield "soft", divergence(student_logits, teacher_logits)
        if label is not None and label != -100:
            smoothing = case.arguments.get("label_smoothing_factor", 0.0)
            log_probabilities = torch.log_softmax(student_logits, -1)
            yield "hard", -(1 - smoothing) * log_probabilities[label] - smoothing * log_probabilities.mean()


def divergence(student_logits, teacher_logits):
    student = torch.softmax(student_logits / TEMPERATURE, -1)
    teacher = torch.softmax(teacher_logits / TEMPERATURE, -1)
    return TEMPERATURE**2 * sum(p * (p / q).log() for p, q in zip(teacher, student, strict=True))
