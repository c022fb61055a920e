"""Without a teacher it is plain Trainer, to the bit where plain Trainer is right."""

import pytest
import torch
from tiny_tasks import TASKS, collator_for
from transformers import Trainer, TrainingArguments

from hf_distill import DistillationTrainer

tasks = pytest.mark.parametrize(("build", "make_rows"), TASKS.values(), ids=TASKS)


def train_both(build, rows, make_arguments, **arguments):
    """Plain Trainer and this one, without a teacher, from the same weights on the same rows."""
    args = make_arguments(
        logging_steps=1,
        num_train_epochs=1,
        soft_target_weight=0.0,
        hard_target_weight=1.0,
        train_sampling_strategy="random",
        **arguments,
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


def test_trainer_divides_gpt2s_loss_by_first_tokens_too(make_arguments):
    """Nothing predicts them, so plain Trainer's loss is too small by their share: the only task left out above."""
    build, make_rows = TASKS["next token, GPT-2"]
    rows = make_rows(8)
    (_, [plain_loss]), (_, [loss]) = train_both(build, rows, make_arguments)
    num_tokens = sum(len(tokens) for tokens in rows["input_ids"])
    assert plain_loss * num_tokens == pytest.approx(loss * (num_tokens - 8), rel=1e-5)


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
