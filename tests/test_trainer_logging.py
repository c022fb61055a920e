"""What is logged, compared with what the two models give when they are asked by hand."""

import contextlib
import copy
import sys

import pytest
import torch
from conftest import PaddingCollator, random_rows, tiny_bert
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import Trainer, TrainingArguments

from hf_distill import DistillationTrainer

TERMS = ("soft_target_loss", "hard_target_loss", "hidden_state_loss")
WEIGHTS = {"soft_target_loss": 0.7, "hard_target_loss": 0.2, "hidden_state_loss": 0.4}
TEMPERATURE = 3.0


def make_trainer(make_arguments, trainer_class=DistillationTrainer, rows=None, **arguments):
    defaults = {
        "temperature": TEMPERATURE,
        **{name.replace("loss", "weight"): weight for name, weight in WEIGHTS.items()},
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 2,
        "num_train_epochs": 2,
        "logging_steps": 1,
    }
    return trainer_class(
        model=tiny_bert(layers=2),
        teacher_model=tiny_bert(seed=1),
        args=make_arguments(**{**defaults, **arguments}),
        train_dataset=rows if rows is not None else random_rows(22),
        eval_dataset=random_rows(9, seed=5),
        data_collator=PaddingCollator(),
    )


def terms_by_hand(student, teacher, rows):
    """Row by row and position by position, unpadded, in double precision."""
    student, teacher = copy.deepcopy(student).double().eval(), copy.deepcopy(teacher).double().eval()
    soft, hard, hidden = [], [], []
    for row in rows:
        inputs = {name: torch.tensor([row[name]]) for name in ("input_ids", "attention_mask")}
        with torch.no_grad():
            ours = student(**inputs, output_hidden_states=True)
            theirs = teacher(**inputs, output_hidden_states=True)
        targets = torch.softmax(theirs.logits[0] / TEMPERATURE, -1)
        log_probs = torch.log_softmax(ours.logits[0] / TEMPERATURE, -1)
        soft.append(sum(p * (p.log() - q) for p, q in zip(targets, log_probs, strict=True)) * TEMPERATURE**2)
        hard.append(-torch.log_softmax(ours.logits[0], -1)[row["labels"]])
        for a, b in zip(ours.hidden_states[-1][0], theirs.hidden_states[-1][0], strict=True):
            hidden.append(1 - (a @ b) / (a.norm() * b.norm()))
    return {name: float(sum(values) / len(values)) for name, values in zip(TERMS, (soft, hard, hidden), strict=True)}


class RecordSteps(DistillationTrainer):
    """Keeps the student as it was before each optimiser step, with the rows of the step."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.steps = []

    def get_batch_samples(self, *args, **kwargs):
        batches, counts = super().get_batch_samples(*args, **kwargs)
        rows = [
            {
                "input_ids": ids[mask.bool()].tolist(),
                "attention_mask": [1] * int(mask.sum()),
                "labels": int(label),
            }
            for batch in batches
            for ids, mask, label in zip(batch["input_ids"], batch["attention_mask"], batch["labels"], strict=True)
        ]
        self.steps.append((copy.deepcopy(self.model), rows))
        return batches, counts


def logged(trainer):
    return [log for log in trainer.state.log_history if "loss" in log]


def test_each_term_equals_what_the_models_give_by_hand(make_arguments):
    trainer = make_trainer(make_arguments, RecordSteps)
    trainer.train()
    assert [len(rows) for _, rows in trainer.steps] == [4, 4, 4, 4, 4, 2] * 2
    for log, (student, rows) in zip(logged(trainer), trainer.steps, strict=True):
        for name, value in terms_by_hand(student, trainer.teacher.model, rows).items():
            assert log[name] == pytest.approx(value, rel=1e-4)


def test_loss_is_the_weighted_sum_of_the_logged_terms(make_arguments):
    trainer = make_trainer(make_arguments, logging_steps=5)
    trainer.train()
    assert len(logged(trainer)) == 2
    for log in logged(trainer):
        assert log["loss"] == pytest.approx(sum(WEIGHTS[name] * log[name] for name in TERMS), rel=1e-5)


@pytest.mark.parametrize("logging_steps", [2, 5])
def test_averages_are_over_the_steps_since_the_last_log(make_arguments, logging_steps):
    each_step = make_trainer(make_arguments)
    each_step.train()
    trainer = make_trainer(make_arguments, logging_steps=logging_steps)
    trainer.train()
    steps = logged(each_step)
    for number, log in enumerate(logged(trainer)):
        window = steps[number * logging_steps : (number + 1) * logging_steps]
        for name in ("loss", *TERMS):
            assert log[name] == pytest.approx(sum(step[name] for step in window) / logging_steps, rel=1e-5)


def test_logging_by_epoch_and_the_first_step(make_arguments):
    each_step = make_trainer(make_arguments)
    each_step.train()
    trainer = make_trainer(make_arguments, logging_strategy="epoch", logging_first_step=True)
    trainer.train()
    windows = [(0, 1), (1, 6), (6, 12)]
    for log, (start, end) in zip(logged(trainer), windows, strict=True):
        for name in ("loss", *TERMS):
            window = [step[name] for step in logged(each_step)[start:end]]
            assert log[name] == pytest.approx(sum(window) / len(window), rel=1e-5)


@pytest.mark.parametrize("name", TERMS)
def test_a_term_without_weight_is_not_logged(make_arguments, name):
    trainer = make_trainer(make_arguments, max_steps=1, **{name.replace("loss", "weight"): 0})
    trainer.train()
    assert set(TERMS) & set(logged(trainer)[0]) == set(TERMS) - {name}


def test_a_second_training_starts_its_averages_anew(make_arguments):
    trainer = make_trainer(make_arguments, max_steps=3, logging_steps=2)
    trainer.train()
    trainer.train()
    log = logged(trainer)[0]
    assert log["loss"] == pytest.approx(sum(WEIGHTS[name] * log[name] for name in TERMS), rel=1e-5)


def test_arguments_changed_between_two_trainings_are_applied(make_arguments):
    """As a hyperparameter search does."""
    trainer = make_trainer(make_arguments, max_steps=1)
    student = copy.deepcopy(trainer.model.state_dict())
    trainer.train()
    trainer.model.load_state_dict(student)
    trainer.args.soft_target_weight, trainer.args.hidden_state_weight = 5.0, 0.0
    trainer.train()
    (log,) = logged(trainer)
    assert log["loss"] == pytest.approx(5.0 * log["soft_target_loss"] + 0.2 * log["hard_target_loss"], rel=1e-5)
    assert "hidden_state_loss" not in log


class RunsOutOfMemoryOnce(DistillationTrainer):
    def compute_loss(self, model, inputs, *args, **kwargs):
        if inputs["input_ids"].shape[0] > 4 and self.state.global_step == 2:
            raise RuntimeError("CUDA out of memory.")
        return super().compute_loss(model, inputs, *args, **kwargs)


def test_averages_start_anew_where_the_batch_size_was_too_large(make_arguments):
    trainer = make_trainer(
        make_arguments,
        RunsOutOfMemoryOnce,
        auto_find_batch_size=True,
        per_device_train_batch_size=5,
        gradient_accumulation_steps=1,
        logging_steps=4,
    )
    trainer.train()
    assert trainer._train_batch_size < 5
    for log in logged(trainer):
        assert log["loss"] == pytest.approx(sum(WEIGHTS[name] * log[name] for name in TERMS), rel=1e-5)


# ---- Evaluation ----


def test_eval_loss_is_the_students_own_task_loss(make_arguments):
    trainer = make_trainer(make_arguments, per_device_eval_batch_size=4, eval_strategy="epoch")
    trainer.train()
    by_hand = terms_by_hand(trainer.model, trainer.teacher.model, trainer.eval_dataset)
    assert trainer.state.log_history[-2]["eval_loss"] == pytest.approx(by_hand["hard_target_loss"], rel=1e-5)
    assert trainer.evaluate()["eval_loss"] == pytest.approx(by_hand["hard_target_loss"], rel=1e-5)


def test_evaluation_does_not_disturb_what_training_logs(make_arguments):
    plain = make_trainer(make_arguments, logging_steps=3)
    plain.train()
    evaluated = make_trainer(make_arguments, logging_steps=3, eval_strategy="steps", eval_steps=2)
    evaluated.train()
    keep = ("loss", *TERMS, "step")
    assert [{n: log[n] for n in keep} for log in logged(plain)] == [
        {n: log[n] for n in keep} for log in logged(evaluated)
    ]


@pytest.mark.parametrize("after_training", [False, True])
def test_a_batch_given_by_hand_counts_whole(make_arguments, after_training):
    """Also right after training, whose last batch was a short one."""
    trainer = make_trainer(make_arguments, per_device_train_batch_size=4)
    if after_training:
        trainer.train()
    rows = list(random_rows(8, seed=3))
    with torch.no_grad():
        loss = trainer.compute_loss(trainer.model.eval(), PaddingCollator()(rows))
    expected = terms_by_hand(trainer.model, trainer.teacher.model, rows)["hard_target_loss"]
    assert float(loss) == pytest.approx(expected, rel=1e-5)


# ---- No waiting for the device ----


class CountReads(TorchDispatchMode):
    """Counts the operations whose result the host has to wait for."""

    WAITING = {"aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::_unique2", "aten::equal"}

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func.name() in self.WAITING
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def reads_counted(models):
    """Counts reads outside of the forward passes of ``models``, which are transformers' own affair."""
    counter = CountReads()
    inside, handles = [], []

    def enter(module, args, kwargs):
        inside.append(counter.count)

    def leave(module, args, output):
        counter.count = inside.pop()

    for model in models:
        handles += [
            model.register_forward_pre_hook(enter, with_kwargs=True),
            model.register_forward_hook(leave),
        ]
    with counter:
        yield counter
    for handle in handles:
        handle.remove()


@pytest.mark.parametrize("strategy", ["random", "group_by_length"])
def test_training_waits_for_the_device_no_more_often_than_trainer(make_arguments, tmp_path, strategy):
    trainer = make_trainer(make_arguments, logging_strategy="no", train_sampling_strategy=strategy)
    with reads_counted([trainer.model, trainer.teacher.model]) as ours:
        trainer.train()
    arguments = trainer.args.to_dict()
    names = {"num_train_epochs", "per_device_train_batch_size", "gradient_accumulation_steps", "logging_strategy"}
    names |= {"train_sampling_strategy", "use_cpu", "report_to", "save_strategy", "disable_tqdm"}
    plain = Trainer(
        model=tiny_bert(layers=2),
        args=TrainingArguments(
            str(tmp_path / "plain"), logging_nan_inf_filter=False, **{name: arguments[name] for name in names}
        ),
        train_dataset=random_rows(22),
        data_collator=PaddingCollator(),
    )
    with reads_counted([plain.model]) as theirs:
        plain.train()
    assert trainer.state.global_step == plain.state.global_step == 12
    # At the end, once, whether all losses were finite: a list, which is no operation of torch's.
    assert ours.count <= theirs.count


@pytest.mark.parametrize("class_order", [None, [2, 0, 1]])
def test_the_package_reads_tensors_once_in_a_training_that_logs_nothing(make_arguments, monkeypatch, class_order):
    """At its end, to tell whether all losses were finite."""
    trainer = make_trainer(make_arguments, logging_strategy="no")
    trainer.teacher.class_order = class_order
    readers = []

    def note(name):
        method = getattr(torch.Tensor, name)

        def read(self, *args, **kwargs):
            caller = sys._getframe(1)
            if caller.f_globals["__name__"].startswith("hf_distill"):
                readers.append(caller.f_code.co_name)
            return method(self, *args, **kwargs)

        monkeypatch.setattr(torch.Tensor, name, read)

    for name in ("item", "tolist", "cpu", "numpy", "nonzero", "__bool__", "__float__", "__int__", "__index__"):
        note(name)
    trainer.train()
    assert trainer.state.global_step == 12
    assert readers == ["raise_if_not_finite"]


def test_the_hard_target_term_is_pytorchs_cross_entropy(make_arguments):
    trainer = make_trainer(make_arguments, soft_target_weight=0, hidden_state_weight=0, hard_target_weight=1)
    batch = PaddingCollator()(list(random_rows(6, seed=4)))
    expected = F.cross_entropy(
        trainer.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits, batch["labels"]
    )
    torch.testing.assert_close(trainer.compute_loss(trainer.model.train(), batch), expected)
