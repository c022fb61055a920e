"""Every kind of task: what plain Trainer makes of it without a teacher, and what the teacher adds to it."""

import copy

import pytest
import torch
from conftest import VOCABULARY, PaddingCollator, random_rows, tiny_bert
from datasets import Dataset
from torch import nn
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BartForSequenceClassification,
    BertForMaskedLM,
    BertForMultipleChoice,
    BertForQuestionAnswering,
    BertForTokenClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    M2M100Config,
    M2M100ForConditionalGeneration,
    T5Config,
    T5ForConditionalGeneration,
    Trainer,
    TrainingArguments,
    ViTConfig,
    ViTForImageClassification,
    default_data_collator,
    set_seed,
)
from two_processes.cases import StepRecorder

from hf_distill import DistillationTrainer
from hf_distill.errors import InputError


def tiny_bart(cls=BartForConditionalGeneration, layers=1, seed=0, config=BartConfig, **options):
    set_seed(seed)
    sizes = {
        "d_model": 32,
        "encoder_layers": layers,
        "decoder_layers": layers,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 4,
        "encoder_ffn_dim": 37,
        "decoder_ffn_dim": 37,
        "max_position_embeddings": 64,
    }
    no_dropout = {name: 0.0 for name in ("dropout", "encoder_layerdrop", "decoder_layerdrop", "attention_dropout")}
    special = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2, "decoder_start_token_id": 1}
    return cls(config(vocab_size=VOCABULARY, init_std=0.3, **sizes, **no_dropout, **special, **options)).eval()


def tiny_t5(layers=1, seed=0):
    set_seed(seed)
    sizes = {"d_model": 32, "d_kv": 8, "d_ff": 37, "num_layers": layers, "num_heads": 4}
    config = T5Config(vocab_size=VOCABULARY, dropout_rate=0.0, decoder_start_token_id=0, **sizes)
    return T5ForConditionalGeneration(config).eval()


def tiny_gpt2(cls=GPT2LMHeadModel, layers=2, seed=0, **options):
    set_seed(seed)
    sizes = {"n_positions": 64, "n_embd": 32, "n_layer": layers, "n_head": 4, "initializer_range": 0.3}
    no_dropout = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0, "pad_token_id": 0}
    return cls(GPT2Config(vocab_size=VOCABULARY, **sizes, **no_dropout, **options)).eval()


def tiny_llama(layers=2, seed=0):
    set_seed(seed)
    sizes = {"hidden_size": 32, "intermediate_size": 37, "num_hidden_layers": layers, "num_attention_heads": 4}
    return LlamaForCausalLM(LlamaConfig(vocab_size=VOCABULARY, initializer_range=0.3, **sizes)).eval()


def tiny_vit(layers=2, seed=0, num_labels=3):
    set_seed(seed)
    sizes = {"hidden_size": 32, "intermediate_size": 37, "num_hidden_layers": layers, "num_attention_heads": 4}
    no_dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "initializer_range": 0.3}
    config = ViTConfig(image_size=8, patch_size=4, num_labels=num_labels, **sizes, **no_dropout)
    return ViTForImageClassification(config).eval()


def relabelled(make_label, count=24):
    return random_rows(count).map(lambda row, index: {"labels": make_label(row, index)}, with_indices=True)


def scores(count=24):
    return relabelled(lambda row, index: index / 4, count)


def several(count=24):
    return relabelled(lambda row, index: [float(index % 2), float(index % 3 == 0)], count)


def own_tokens(count=24):
    return relabelled(lambda row, index: row["input_ids"], count)


def images(count=24):
    generator = torch.Generator().manual_seed(0)
    return Dataset.from_dict(
        {
            "pixel_values": torch.randn(count, 3, 8, 8, generator=generator).tolist(),
            "labels": [index % 3 for index in range(count)],
        }
    )


TASKS = {
    "classes": (tiny_bert, random_rows),
    "score": (lambda **options: tiny_bert(num_labels=1, **options), scores),
    "several labels": (lambda **options: tiny_bert(num_labels=2, **options), several),
    "tokens": (
        lambda **options: tiny_bert(cls=BertForTokenClassification, **options),
        lambda count=24: random_rows(count, per_token=True),
    ),
    "masked tokens": (
        lambda **options: tiny_bert(cls=BertForMaskedLM, **options),
        lambda count=24: random_rows(count, per_token=True),
    ),
    "next token, GPT-2": (tiny_gpt2, own_tokens),
    "next token, Llama": (tiny_llama, own_tokens),
    "classes, GPT-2": (
        lambda **options: tiny_gpt2(GPT2ForSequenceClassification, num_labels=3, **options),
        random_rows,
    ),
    "classes, BART": (
        lambda **options: tiny_bart(BartForSequenceClassification, num_labels=3, **options),
        lambda count=24: relabelled(lambda row, index: index % 3, count).map(
            lambda row: {"input_ids": [max(token, 3) for token in row["input_ids"][:-1]] + [1]}
        ),
    ),
    "sequence to sequence, BART": (tiny_bart, own_tokens),
    "sequence to sequence, T5": (tiny_t5, own_tokens),
    "sequence to sequence, M2M100": (
        lambda **options: tiny_bart(M2M100ForConditionalGeneration, config=M2M100Config, **options),
        own_tokens,
    ),
    "images": (tiny_vit, images),
}
tasks = pytest.mark.parametrize(("build", "make_rows"), TASKS.values(), ids=TASKS)


def collator_for(rows):
    return PaddingCollator() if "input_ids" in rows.column_names else None


def train_both(build, rows, make_arguments, **arguments):
    """Plain Trainer and this one, without a teacher, from the same weights on the same rows."""
    args = make_arguments(
        logging_steps=1, num_train_epochs=1, soft_target_weight=0.0, hard_target_weight=1.0, **arguments
    )
    fields = TrainingArguments.__dataclass_fields__.values()
    plain_args = TrainingArguments(**{field.name: getattr(args, field.name) for field in fields if field.init})
    data = {"train_dataset": rows, "data_collator": collator_for(rows)}
    results = []
    for trainer_class, trainer_args in ((Trainer, plain_args), (DistillationTrainer, args)):
        trainer = trainer_class(model=build(layers=2), args=trainer_args, **data)
        trainer.train()
        results.append((trainer.model, [logs["loss"] for logs in trainer.state.log_history if "loss" in logs]))
    return results


@pytest.mark.parametrize("name", [name for name in TASKS if name != "next token, GPT-2"])
def test_without_a_teacher_it_is_trainer_bit_for_bit(name, make_arguments):
    build, make_rows = TASKS[name]
    (plain, plain_losses), (ours, losses) = train_both(build, make_rows(24), make_arguments)
    assert len(losses) == 3
    assert losses == pytest.approx(plain_losses, rel=1e-6)
    for name, weight in plain.state_dict().items():
        assert torch.equal(weight, ours.state_dict()[name]), name
    assert ours.config.problem_type == plain.config.problem_type


@pytest.mark.parametrize("name", ["classes", "score", "several labels", "tokens", "next token, Llama"])
def test_it_is_trainer_to_the_last_digits_where_counts_are_odd(name, make_arguments):
    build, make_rows = TASKS[name]
    arguments = {"optim": "sgd", "learning_rate": 0.01, "per_device_train_batch_size": 7}
    (plain, plain_losses), (ours, losses) = train_both(build, make_rows(19), make_arguments, **arguments)
    assert losses == pytest.approx(plain_losses, rel=1e-6)
    for name, weight in plain.state_dict().items():
        torch.testing.assert_close(weight, ours.state_dict()[name], rtol=1e-5, atol=1e-6, msg=name)


@pytest.mark.parametrize("name", ["classes", "tokens", "next token, Llama", "images"])
def test_label_smoothing_is_trainers(name, make_arguments):
    build, make_rows = TASKS[name]
    arguments = {"label_smoothing_factor": 0.1, "optim": "sgd", "learning_rate": 0.01}
    (plain, plain_losses), (ours, losses) = train_both(build, make_rows(24), make_arguments, **arguments)
    assert losses == pytest.approx(plain_losses, rel=1e-5)
    for name, weight in plain.state_dict().items():
        torch.testing.assert_close(weight, ours.state_dict()[name], rtol=1e-5, atol=1e-6, msg=name)


@tasks
def test_eval_loss_is_the_models_own(build, make_rows, make_arguments):
    """For one batch, which is where the models' own averages can be trusted."""
    rows = make_rows(8)
    args = make_arguments(soft_target_weight=0.0)
    collate = collator_for(rows)
    trainer = DistillationTrainer(model=build(layers=2), args=args, eval_dataset=rows, data_collator=collate)
    eval_loss = trainer.evaluate()["eval_loss"]
    batch = (collate or trainer.data_collator)(list(rows))
    assert eval_loss == pytest.approx(build(layers=2)(**batch).loss.item(), rel=1e-5)


# ---- With a teacher ----

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


def test_unequal_widths_are_refused_before_training(make_arguments):
    student, teacher = tiny_bert(layers=1, hidden_size=16), tiny_bert()
    with pytest.raises(InputError, match="16 wide and the teacher's 32"):
        DistillationTrainer(model=student, teacher_model=teacher, args=make_arguments(hidden_state_weight=0.1))


def test_missing_labels_are_refused(make_arguments):
    rows = random_rows(8, with_labels=False)
    data = {"train_dataset": rows, "data_collator": PaddingCollator()}
    trainer = DistillationTrainer(model=tiny_bert(layers=1), teacher_model=tiny_bert(), args=make_arguments(), **data)
    with pytest.raises(InputError, match="no `labels`"):
        trainer.train()
