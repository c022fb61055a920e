"""Linear maps between widths: trained beside the student, and no part of it."""

import pytest
import torch
from accelerate import Accelerator
from invariance_cases import make_trainer, pair_for, rows_of
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification

from hf_distill.errors import InputError
from hf_distill.objectives import DistillationObjective, HiddenStates, SoftTargets
from hf_distill.objectives.projections import PROJECTIONS_NAME, Projections

NARROW = "narrow, projected states"
OBJECTIVE = DistillationObjective([SoftTargets(), HiddenStates(loss="mse", layer_mapping="auto")])


def trainer_of(folder, objective=OBJECTIVE, pair=NARROW, **arguments):
    defaults = {"learning_rate": 1e-2, "max_steps": 4, "per_device_train_batch_size": 6}
    return make_trainer(objective, pair_for(pair), rows_of(), folder, **{**defaults, **arguments})[0]


def weights_of(trainer):
    return {name: weight.detach().clone() for name, weight in trainer.projections.modules.state_dict().items()}


def test_there_is_one_for_each_of_the_students_layers_and_none_for_equal_widths(tmp_path):
    found = weights_of(trainer_of(tmp_path))
    assert {name: tuple(weight.shape) for name, weight in found.items() if name.endswith("weight")} == {
        f"hidden_state_loss_{layer}.weight": (32, 16) for layer in range(3)
    }
    assert trainer_of(tmp_path, pair="all").projections is None
    assert trainer_of(tmp_path, DistillationObjective([SoftTargets()])).projections is None


def test_they_begin_the_same_on_every_process_and_leave_the_random_numbers_alone():
    torch.manual_seed(3)
    expected = torch.rand(2)
    drawn = []
    for _ in range(2):
        torch.manual_seed(3)
        projections = Projections({"b": (4, 6), "a": (4, 5)}, Accelerator(cpu=True), 42, 0.0)
        assert torch.equal(torch.rand(2), expected)
        drawn.append(projections.modules.state_dict())
    for name, weight in drawn[0].items():
        assert torch.equal(weight, drawn[1][name])


def test_they_learn_at_a_rate_of_their_own(tmp_path):
    for rate, expected in ((None, 1e-2), (0.5, 0.5)):
        options = {"projection_learning_rate": rate, "lr_scheduler_type": "constant"}
        trainer = trainer_of(tmp_path, optim="sgd", max_steps=1, **options)
        before, gradients = weights_of(trainer), {}
        projections = trainer.projections

        class Look(type(trainer.callback_handler.callbacks[0])):
            def on_pre_optimizer_step(self, *args, projections=projections, gradients=gradients, **kwargs):
                found = projections.modules.named_parameters()
                gradients.update({name: weight.grad.clone() for name, weight in found})

        trainer.add_callback(Look())
        trainer.train()
        groups = trainer.optimizer.param_groups
        assert [len(group["params"]) for group in groups][-1] == 6
        for name, weight in weights_of(trainer).items():
            torch.testing.assert_close(before[name] - weight, expected * gradients[name], rtol=1e-4, atol=1e-7)
            assert gradients[name].norm() > 0


def test_their_gradients_are_clipped_and_cleared(tmp_path):
    projections = Projections({"a": (4, 5)}, Accelerator(cpu=True), 42, 0.1)
    linear = projections.modules["a"]
    linear.weight.grad = torch.ones(5, 4)
    projections.on_pre_optimizer_step()
    assert torch.stack([linear.weight.grad.norm(), linear.bias.grad.norm()]).norm().item() == pytest.approx(0.1, 1e-3)
    projections.on_optimizer_step()
    assert linear.weight.grad is None and linear.bias.grad is None


def test_they_are_in_the_checkpoint_and_not_in_the_student(tmp_path):
    trainer = trainer_of(tmp_path, save_strategy="steps", save_steps=2)
    student = set(trainer.model.state_dict())
    trainer.train()
    for step in (2, 4):
        folder = tmp_path / f"checkpoint-{step}"
        assert set(load_file(folder / "model.safetensors")) == student
        assert set(load_file(folder / PROJECTIONS_NAME)) == set(weights_of(trainer))
    for name, weight in load_file(tmp_path / "checkpoint-4" / PROJECTIONS_NAME).items():
        assert torch.equal(weight, weights_of(trainer)[name])
    trainer.save_model(tmp_path / "student")
    assert not (tmp_path / "student" / PROJECTIONS_NAME).exists()
    assert AutoModelForSequenceClassification.from_pretrained(tmp_path / "student").config.hidden_size == 16


def test_a_checkpoint_without_them_or_with_others_is_refused(tmp_path):
    trainer = trainer_of(tmp_path, save_strategy="steps", save_steps=2)
    trainer.train()
    file = tmp_path / "checkpoint-2" / PROJECTIONS_NAME
    others = DistillationObjective([SoftTargets(), HiddenStates(layer_mapping=[[1, 1], [2, 3]])])
    with pytest.raises(InputError, match="holds other projections.*another layer_mapping"):
        trainer_of(tmp_path, others).train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    file.unlink()
    with pytest.raises(InputError, match=f"holds no {PROJECTIONS_NAME}"):
        trainer_of(tmp_path).train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
