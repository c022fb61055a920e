"""A compiled student with a compiled teacher learns, saves, resumes and evaluates as an uncompiled one does."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import PaddingCollator, random_rows, tiny_bert
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, TrainerCallback

from hf_distill import DistillationTrainer, DistillationTrainingArguments
from hf_distill.signal_needs import SignalNeeds

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")


class Gradients(TrainerCallback):
    """Keeps those of every step."""

    def __init__(self):
        self.steps = []

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        self.steps.append(torch.cat([weight.grad.flatten() for weight in model.parameters()]))


class StopAt(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        control.should_training_stop = state.global_step == 2


def make_trainer(folder, callbacks, **arguments):
    rows = random_rows(10)
    return DistillationTrainer(
        model=tiny_bert(layers=1, dropout=arguments.pop("dropout", 0.0)),
        teacher_model=tiny_bert(layers=2, seed=1),
        args=DistillationTrainingArguments(
            str(folder),
            use_cpu=True,
            report_to="none",
            disable_tqdm=True,
            per_device_train_batch_size=4,
            num_train_epochs=1,
            logging_steps=1,
            save_strategy="steps",
            save_steps=2,
            eval_strategy="epoch",
            **arguments,
        ),
        train_dataset=rows,
        eval_dataset=rows,
        data_collator=PaddingCollator(),
        callbacks=callbacks,
    )


def results(folder, **arguments):
    """Of a run, and of the same run stopped and resumed."""
    recorder = Gradients()
    trainer = make_trainer(folder / "whole", [recorder], **arguments)
    trainer.train()
    trainer.save_model(folder / "saved")
    stopped = make_trainer(folder / "stopped", [StopAt()], **arguments)
    stopped.train()
    resumed = make_trainer(folder / "stopped", [], **arguments)
    resumed.train(resume_from_checkpoint=True)
    return {
        "trainer": trainer,
        "resumed": resumed,
        "gradients": torch.stack(recorder.steps),
        "losses": [log["loss"] for log in trainer.state.log_history if "loss" in log],
        "eval_loss": trainer.evaluate()["eval_loss"],
        "predictions": trainer.predict(random_rows(10)).predictions,
    }


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    torch._dynamo.reset()
    compiled = results(folder / "compiled", torch_compile=True, torch_compile_backend="eager")
    torch._dynamo.reset()
    return folder, results(folder / "plain"), compiled


def test_both_models_are_compiled(runs):
    _, plain, compiled = runs
    assert isinstance(compiled["trainer"].model_wrapped, torch._dynamo.OptimizedModule)
    assert compiled["trainer"].teacher.model._compiled_call_impl is not None
    assert plain["trainer"].teacher.model._compiled_call_impl is None


def test_losses_gradients_and_predictions_are_the_same(runs):
    _, plain, compiled = runs
    assert compiled["losses"] == pytest.approx(plain["losses"], rel=1e-6)
    torch.testing.assert_close(compiled["gradients"], plain["gradients"], rtol=1e-5, atol=1e-6)
    assert compiled["eval_loss"] == pytest.approx(plain["eval_loss"], rel=1e-6)
    np.testing.assert_allclose(compiled["predictions"], plain["predictions"], rtol=1e-5, atol=1e-6)


def test_a_resume_ends_with_the_same_weights(runs):
    _, _, compiled = runs
    expected = compiled["trainer"].model.state_dict()
    for name, weight in compiled["resumed"].model.state_dict().items():
        assert torch.equal(weight, expected[name]), name


@pytest.mark.parametrize("saved", ["saved", "whole/checkpoint-2", "stopped/checkpoint-3"])
def test_saved_weights_have_their_own_names(runs, saved):
    folder, plain, compiled = runs
    weights = load_file(folder / "compiled" / saved / "model.safetensors")
    assert weights.keys() == plain["trainer"].model.state_dict().keys()


def test_the_saved_student_loads(runs):
    folder, _, compiled = runs
    model = AutoModelForSequenceClassification.from_pretrained(folder / "compiled" / "saved").eval()
    batch = PaddingCollator()(list(random_rows(10)))
    with torch.no_grad():
        np.testing.assert_allclose(model(**batch).logits, compiled["predictions"], rtol=1e-4, atol=1e-5)


def test_hidden_states_through_aot_autograd(tmp_path):
    """The teacher alone: its answers are those of the model that it was made of."""
    torch._dynamo.reset()
    arguments = {"torch_compile": True, "torch_compile_backend": "aot_eager", "hidden_state_weight": 1.0}
    teacher = make_trainer(tmp_path, [], **arguments).teacher
    batch = PaddingCollator()(list(random_rows(3)))
    answer = teacher(batch, SignalNeeds(hidden_states=frozenset({0, 2})))
    with torch.no_grad():
        expected = tiny_bert(layers=2, seed=1)(**batch, output_hidden_states=True)
    torch.testing.assert_close(answer.dense_logits, expected.logits, rtol=1e-5, atol=1e-5)
    for layer, state in answer.hidden_states.items():
        torch.testing.assert_close(state, expected.hidden_states[layer], rtol=1e-5, atol=1e-5)
    assert set(answer.hidden_states) == {0, 2}
    assert teacher.model._compiled_call_impl is not None
    torch._dynamo.reset()


def test_bf16_with_a_live_teacher(tmp_path):
    """The teacher's weights are bf16, the student's stay fp32, and the losses are near those of fp32."""
    found = {}
    for precision in (False, True):
        recorder = Gradients()
        trainer = make_trainer(Path(tmp_path, str(precision)), [recorder], bf16=precision, hidden_state_weight=1.0)
        trainer.train()
        found[precision] = [log["loss"] for log in trainer.state.log_history if "loss" in log]
        assert {weight.dtype for weight in trainer.model.parameters()} == {torch.float32}
        of_teacher = {weight.dtype for weight in trainer.teacher.model.parameters()}
        assert of_teacher == {torch.bfloat16 if precision else torch.float32}
        assert np.isfinite(trainer.evaluate()["eval_loss"])
    assert found[True] == pytest.approx(found[False], rel=0.05)
    assert found[True] != found[False]
