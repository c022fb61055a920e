"""The teacher: what it is asked, when, and what it leaves behind."""

import copy

import pytest
import torch
from conftest import PaddingCollator, random_rows, tiny_bert
from safetensors import safe_open
from transformers import TrainerCallback, TrainingArguments, ViTConfig, ViTForImageClassification
from two_processes.cases import (
    CASES,
    distilbert_of_bert,
    expected_gradient,
    make_trainer,
    relative_difference,
    tiny_gpt2,
)

from hf_distill import DistillationTrainer
from hf_distill.errors import InputError


def count_calls(model):
    calls = []
    model.register_forward_hook(lambda *args: calls.append(1))
    return calls


def logged_terms(trainer):
    return [logs for logs in trainer.state.log_history if "loss" in logs]


def weights_of(model):
    return {name: weight.clone() for name, weight in model.state_dict().items()}


# ---- Its inputs ----


def test_it_gets_columns_that_the_students_forward_does_not_take(make_arguments):
    """A BERT teacher of sentence pairs mispredicts without the token types that DistilBERT does not know."""
    student, teacher = distilbert_of_bert()
    rows = random_rows(8, with_token_type_ids=True).add_column("text", ["not for a model"] * 8)
    batch = PaddingCollator()(list(rows.remove_columns("text")))
    batch.pop("labels")
    right = teacher(**batch).logits
    token_types = batch.pop("token_type_ids")
    assert (right - teacher(**batch).logits).abs().max() > 0.1
    logits = student(**batch).logits
    expected = 4 * ((right / 2).softmax(-1) * ((right / 2).log_softmax(-1) - (logits / 2).log_softmax(-1))).sum(-1)

    asked = []
    teacher.register_forward_pre_hook(lambda module, args, inputs: asked.append(inputs), with_kwargs=True)
    args = make_arguments(max_steps=1, logging_steps=1, train_sampling_strategy="sequential")
    assert args.remove_unused_columns
    trainer = DistillationTrainer(
        model=student, teacher_model=teacher, args=args, train_dataset=rows, data_collator=PaddingCollator()
    )
    trainer.train()
    assert trainer.args.remove_unused_columns
    assert torch.equal(asked[0]["token_type_ids"], token_types)
    assert "labels" not in asked[0]
    assert logged_terms(trainer)[0]["soft_target_loss"] == pytest.approx(expected.mean().item(), rel=1e-4)


@pytest.mark.parametrize("with_labels", [True, False])
@pytest.mark.parametrize("remove_unused_columns", [True, False])
def test_evaluation_with_the_teachers_columns(with_labels, remove_unused_columns, make_arguments):
    student, teacher = distilbert_of_bert()
    rows = random_rows(8, with_token_type_ids=True, with_labels=with_labels)
    trainer = DistillationTrainer(
        model=student,
        teacher_model=teacher,
        args=make_arguments(remove_unused_columns=remove_unused_columns, per_device_eval_batch_size=3),
        data_collator=PaddingCollator(),
    )
    prediction = trainer.predict(rows)
    batch = PaddingCollator()(list(rows))
    expected = student(batch["input_ids"], batch["attention_mask"]).logits
    torch.testing.assert_close(torch.tensor(prediction.predictions), expected, rtol=1e-4, atol=1e-5)
    assert ("test_loss" in prediction.metrics) == with_labels


# ---- Frozen ----


class WakeTheTeacher(TrainerCallback):
    def __init__(self, teacher):
        self.teacher = teacher

    def on_step_begin(self, args, state, control, **kwargs):
        self.teacher.train()
        self.teacher.requires_grad_(True)


def test_it_stays_frozen_and_in_evaluation_mode(make_arguments):
    """Also when someone wakes it up in every step: the soft targets are those of a teacher without dropout."""
    losses = []
    for dropout, callbacks in ((0.0, False), (0.5, True)):
        student, teacher = tiny_bert(layers=2, seed=1), tiny_bert(layers=3, seed=2, dropout=dropout)
        before = weights_of(teacher)
        trainer = DistillationTrainer(
            model=student,
            teacher_model=teacher,
            args=make_arguments(num_train_epochs=2, logging_steps=1, weight_decay=0.1),
            train_dataset=random_rows(20),
            data_collator=PaddingCollator(),
            callbacks=[WakeTheTeacher(teacher)] if callbacks else None,
        )
        assert not any(weight.requires_grad for weight in teacher.parameters())
        trainer.train()
        assert not teacher.training
        assert all(weight.grad is None for weight in teacher.parameters())
        assert all(torch.equal(weight, before[name]) for name, weight in teacher.state_dict().items())
        losses.append([logs["soft_target_loss"] for logs in logged_terms(trainer)])
    assert losses[0] == losses[1]


def test_it_is_in_no_state_optimizer_or_checkpoint(make_arguments, tmp_path):
    student, teacher = tiny_bert(layers=2, seed=1), tiny_bert(layers=3, seed=2)
    names = set(student.state_dict())
    trainer = DistillationTrainer(
        model=student,
        teacher_model=teacher,
        args=make_arguments(save_strategy="steps", save_steps=1, max_steps=1, hidden_state_weight=0.1),
        train_dataset=random_rows(8),
        data_collator=PaddingCollator(),
    )
    trainer.train()
    trainer.save_model()
    assert set(trainer.model.state_dict()) == names
    trained = {id(weight) for group in trainer.optimizer.param_groups for weight in group["params"]}
    assert trained == {id(weight) for weight in student.parameters()}
    for folder in (tmp_path / "out", tmp_path / "out" / "checkpoint-1"):
        with safe_open(folder / "model.safetensors", framework="pt") as weights:
            assert set(weights.keys()) == names
    state = torch.load(tmp_path / "out" / "checkpoint-1" / "optimizer.pt", weights_only=True)
    assert len(state["state"]) == len(list(student.parameters()))
    files = {path.name for path in (tmp_path / "out" / "checkpoint-1").iterdir()}
    plain = {"config.json", "model.safetensors", "optimizer.pt", "rng_state.pth", "scheduler.pt", "trainer_state.json"}
    assert files == plain | {"training_args.bin"}
    with open(tmp_path / "out" / "training_args.bin", "rb") as arguments:
        assert len(arguments.read()) < 20_000


# ---- When it is asked ----


def test_it_is_asked_once_for_each_training_batch_and_never_in_evaluation(make_arguments):
    student, teacher = tiny_bert(layers=2, seed=1), tiny_bert(layers=3, seed=2)
    calls = count_calls(teacher)
    rows = random_rows(10)
    trainer = DistillationTrainer(
        model=student,
        teacher_model=teacher,
        args=make_arguments(
            num_train_epochs=2, per_device_train_batch_size=2, gradient_accumulation_steps=2, eval_strategy="epoch"
        ),
        train_dataset=rows,
        eval_dataset={"seen": rows, "unlabelled": random_rows(10, with_labels=False)},
        data_collator=PaddingCollator(),
    )
    trainer.evaluate()
    trainer.predict(rows)
    assert not calls
    trainer.train()
    assert len(calls) == 10


def test_it_is_never_asked_when_no_term_needs_it(make_arguments):
    student, teacher = tiny_bert(layers=2, seed=1), tiny_bert(layers=3, seed=2)
    calls = count_calls(teacher)
    trainer = DistillationTrainer(
        model=student,
        teacher_model=teacher,
        args=make_arguments(soft_target_weight=0.0, max_steps=1, logging_steps=1),
        train_dataset=random_rows(8),
        data_collator=PaddingCollator(),
    )
    trainer.train()
    assert not calls
    assert {"soft_target_loss", "hidden_state_loss"}.isdisjoint(logged_terms(trainer)[0])


# ---- Where it computes, and in what ----


def tiny_vit(layers):
    sizes = {"hidden_size": 32, "intermediate_size": 37, "num_hidden_layers": layers, "num_attention_heads": 4}
    return ViTForImageClassification(ViTConfig(image_size=8, patch_size=4, num_labels=3, **sizes))


def labelled_images():
    rows = random_rows(8).remove_columns(["input_ids", "attention_mask"])
    return rows.map(lambda row, index: {"pixel_values": torch.randn(3, 8, 8).tolist()}, with_indices=True)


@pytest.mark.parametrize(
    ("build", "make_rows"),
    [
        (tiny_bert, lambda: random_rows(8)),
        (tiny_vit, labelled_images),
        (
            lambda layers: tiny_gpt2(layers, seed=layers),
            lambda: random_rows(8).map(lambda row: {"labels": row["input_ids"]}),
        ),
    ],
    ids=["bert", "vit", "gpt2"],
)
def test_under_bf16_it_is_cast_and_the_loss_stays_close(build, make_rows, make_arguments):
    rows, losses = make_rows(), {}
    student, teacher = build(layers=2), build(layers=3)
    for bf16 in (False, True):
        own_student, own_teacher = copy.deepcopy(student), copy.deepcopy(teacher)
        trainer = DistillationTrainer(
            model=own_student,
            teacher_model=own_teacher,
            args=make_arguments(bf16=bf16, max_steps=1, logging_steps=1, hidden_state_weight=1.0),
            train_dataset=rows,
            data_collator=PaddingCollator() if "input_ids" in rows.column_names else None,
        )
        trainer.train()
        assert {weight.dtype for weight in own_teacher.parameters()} == {torch.bfloat16 if bf16 else torch.float32}
        assert {weight.dtype for weight in own_student.parameters()} == {torch.float32}
        losses[bf16] = logged_terms(trainer)[0]
    for name in ("soft_target_loss", "hard_target_loss", "hidden_state_loss"):
        assert losses[True][name] == pytest.approx(losses[False][name], rel=0.1, abs=0.02)
        assert losses[True][name] != losses[False][name]


@pytest.mark.parametrize("mark", [{"hf_device_map": {"": "cpu"}}, {"is_quantized": True}])
def test_one_that_was_placed_stays_as_it_is_under_bf16(mark, make_arguments):
    student, teacher = tiny_bert(layers=2, seed=1), tiny_bert(layers=3, seed=2)
    for name, value in mark.items():
        setattr(teacher, name, value)
    trainer = DistillationTrainer(
        model=student,
        teacher_model=teacher,
        args=make_arguments(bf16=True, max_steps=1, logging_steps=1),
        train_dataset=random_rows(8),
        data_collator=PaddingCollator(),
    )
    trainer.train()
    assert trainer.teacher.model is teacher
    assert {weight.dtype for weight in teacher.parameters()} == {torch.float32}
    assert logged_terms(trainer)[0]["soft_target_loss"] > 0


def test_a_compiled_teacher_teaches_the_same(tmp_path):
    case = CASES["example, other inputs"]
    trainer, recorder = make_trainer(case, tmp_path, max_steps=1)
    student, teacher = case.build()
    compiled = DistillationTrainer(
        model=student,
        teacher_model=torch.compile(teacher, backend="eager"),
        args=trainer.args,
        train_dataset=case.rows(),
        data_collator=PaddingCollator(),
        callbacks=[recorder],
    )
    compiled.train()
    expected, _ = expected_gradient(case, list(case.rows())[:8])
    assert relative_difference(recorder.gradients[0], expected) < 1e-5


def test_gradient_checkpointing_changes_nothing(tmp_path):
    case = CASES["example, hidden states"]
    trainer, recorder = make_trainer(case, tmp_path, max_steps=1, activation_checkpointing=True)
    trainer.train()
    expected, _ = expected_gradient(case, list(case.rows())[:8])
    assert relative_difference(recorder.gradients[0], expected) < 1e-5


# ---- Its classes ----


def test_its_classes_are_matched_by_name(make_arguments):
    """A teacher whose classes are numbered otherwise teaches what it would if they were not."""
    names = {0: "negative", 1: "neutral", 2: "positive"}
    terms = []
    for order in ([0, 1, 2], [2, 0, 1]):
        student, teacher = tiny_bert(layers=2, seed=1, id2label=names), tiny_bert(layers=3, seed=2, id2label=names)
        with torch.no_grad():
            teacher.classifier.weight.copy_(teacher.classifier.weight[order].clone())
            teacher.classifier.bias.copy_(teacher.classifier.bias[order].clone())
        teacher.config.id2label = {place: names[index].upper() for place, index in enumerate(order)}
        trainer = DistillationTrainer(
            model=student,
            teacher_model=teacher,
            args=make_arguments(max_steps=1, logging_steps=1),
            train_dataset=random_rows(8),
            data_collator=PaddingCollator(),
        )
        trainer.train()
        terms.append(logged_terms(trainer)[0]["soft_target_loss"])
        assert student.config.id2label == names
    assert terms[1] == pytest.approx(terms[0], rel=1e-6)


def test_other_classes_are_refused_before_training(make_arguments):
    student, teacher = tiny_bert(2, id2label={0: "ham", 1: "spam"}), tiny_bert(2, id2label={0: "no", 1: "yes"})
    with pytest.raises(InputError, match=r"\['ham', 'spam'\].*\['no', 'yes'\]"):
        DistillationTrainer(model=student, teacher_model=teacher, args=make_arguments())


# ---- What is refused ----


def test_several_gpus_in_one_process_are_refused(make_arguments):
    args = make_arguments()
    args._n_gpu = 2
    with pytest.raises(InputError, match="sees 2 GPUs.*accelerate launch --num_processes 2"):
        DistillationTrainer(model=tiny_bert(layers=1), teacher_model=tiny_bert(), args=args)


def test_a_model_that_teaches_itself_is_refused(make_arguments):
    student = tiny_bert(layers=1)
    with pytest.raises(InputError, match="copy.deepcopy"):
        DistillationTrainer(model=student, teacher_model=student, args=make_arguments())
    assert all(weight.requires_grad for weight in student.parameters())


def test_terms_without_a_teacher_are_refused(make_arguments):
    for weights in ({}, {"soft_target_weight": 0.0, "hidden_state_weight": 1.0}):
        with pytest.raises(InputError, match="needs a teacher, and there is none.*teacher_model"):
            DistillationTrainer(model=tiny_bert(layers=1), args=make_arguments(**weights))


def test_a_loss_of_ones_own_is_refused_since_it_would_be_ignored(make_arguments):
    args = make_arguments(soft_target_weight=0.0)
    with pytest.raises(InputError, match="compute_loss_func"):
        DistillationTrainer(model=tiny_bert(layers=1), args=args, compute_loss_func=lambda *args, **kwargs: 0)


def test_plain_training_arguments_are_refused(tmp_path):
    args = TrainingArguments(str(tmp_path), use_cpu=True, report_to="none")
    with pytest.raises(InputError, match="DistillationTrainingArguments"):
        DistillationTrainer(tiny_bert(layers=2), tiny_bert(), args)
