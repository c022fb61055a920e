"""Terms that compare the examples of a step do so over all of its micro-batches, with the same dropout."""

import pytest
import torch
from accelerate import Accelerator
from invariance_cases import Recorder, make_trainer, pair_for, rows_of
from two_processes.cases import relative_difference

from hf_distill.losses import distance_relation_loss
from hf_distill.objectives import Contrast, DistillationObjective, SoftTargets
from hf_distill.objectives.whole_step import CollectedExamples, Examples, WholeStep, steps_with_others


def random_vectors(count, width, seed):
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("sizes", [[6], [3, 3], [5, 1], [1] * 6, [4, 0, 2]])
def test_shares_and_gradients_add_up_to_those_of_the_whole(sizes):
    student, teacher = random_vectors(6, 4, 0).requires_grad_(), random_vectors(6, 5, 1)
    expected = distance_relation_loss(student, teacher)
    expected.backward()
    whole_gradient, student.grad = student.grad, None
    parts = list(zip(student.split(sizes), teacher.split(sizes), strict=True))
    collected = [CollectedExamples() for _ in sizes]
    for examples, part in zip(collected, parts, strict=True):
        assert examples.compare("term", Examples(*part), distance_relation_loss) == 0
        assert not examples.examples["term"].student.requires_grad
    steps = steps_with_others(collected, Accelerator(cpu=True))
    shares = [
        step.compare("term", Examples(*part), distance_relation_loss) for step, part in zip(steps, parts, strict=True)
    ]
    torch.testing.assert_close(sum(shares), expected)
    sum(shares).backward()
    torch.testing.assert_close(student.grad, whole_gradient)


def test_a_step_of_one_batch_is_the_term_itself():
    student, teacher = random_vectors(6, 4, 0), random_vectors(6, 5, 1)
    value = WholeStep().compare("term", Examples(student, teacher), distance_relation_loss)
    torch.testing.assert_close(value, distance_relation_loss(student, teacher))


OBJECTIVE = DistillationObjective([SoftTargets(loss="dist"), Contrast(loss="distance_angle", layer_mapping="auto")])


def test_the_dropout_of_the_first_forward_is_that_of_the_second(tmp_path, monkeypatch):
    """What each micro-batch computes with a gradient is what the others were given of it without."""
    compared = {}
    compare, collect = WholeStep.compare, CollectedExamples.compare

    def note(kind, original):
        def noted(self, name, own, loss):
            compared.setdefault((kind, name), []).append(own.student.detach().clone())
            return original(self, name, own, loss)

        return noted

    monkeypatch.setattr(WholeStep, "compare", note("used", compare))
    monkeypatch.setattr(CollectedExamples, "compare", note("collected", collect))
    sizes = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 3}
    trainer, _ = make_trainer(OBJECTIVE, pair_for("all", dropout=0.3), rows_of(), tmp_path, **sizes)
    trainer.train()
    names = {name for _, name in compared}
    assert len(names) == 4
    for name in names:
        used, collected = compared["used", name], compared["collected", name]
        assert len(used) == len(collected) == 3
        for one, other in zip(used, collected, strict=True):
            assert torch.equal(one, other)
        assert not torch.equal(used[0], used[1])


def test_with_dropout_the_gradient_is_that_of_all_micro_batches_at_once(tmp_path):
    """By hand: the micro-batches one after the other with a gradient, and one loss over all of them."""
    sizes = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 3}
    objective = DistillationObjective([Contrast(loss="similarity")])
    trainer, recorder = make_trainer(objective, pair_for("all", dropout=0.3), rows_of(), tmp_path, **sizes)
    assert isinstance(recorder, Recorder)
    states = []
    forward = trainer.model.forward

    def starting(*args, **kwargs):
        states.append(torch.get_rng_state())
        return forward(*args, **kwargs)

    trainer.model.forward = starting
    trainer.train()
    assert len(states) == 6
    student, teacher = pair_for("all", dropout=0.3)
    student.train()
    rows = list(rows_of())
    own, other = [], []
    torch.set_rng_state(states[0])
    for start in range(0, 12, 4):
        batch = trainer.data_collator(rows[start : start + 4])
        mask = batch["attention_mask"][..., None]
        inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
        for model, vectors in ((student, own), (teacher, other)):
            last = model(**inputs, output_hidden_states=True).hidden_states[-1]
            vectors.append((last * mask).sum(1) / mask.sum(1))
    grams = []
    for vectors in (torch.cat(own), torch.cat(other).detach()):
        gram = vectors @ vectors.T
        grams.append(gram / gram.norm(dim=1, keepdim=True))
    (grams[0] - grams[1]).pow(2).mean().backward()
    expected = [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in student.parameters()]
    expected = torch.cat([gradient.flatten() for gradient in expected])
    assert relative_difference(recorder.gradients[0], expected) < 1e-5


@pytest.mark.parametrize(("accumulation", "forwards"), [(1, 1), (3, 6)])
def test_a_step_of_one_batch_takes_one_forward(accumulation, forwards, tmp_path):
    sizes = {"per_device_train_batch_size": 12 // accumulation, "gradient_accumulation_steps": accumulation}
    for objective, expected in ((OBJECTIVE, forwards), (DistillationObjective([SoftTargets()]), accumulation)):
        trainer, _ = make_trainer(objective, pair_for("all"), rows_of(), tmp_path, **sizes)
        counted = []
        trainer.model.register_forward_hook(lambda *args, counted=counted: counted.append(1))
        trainer.train()
        assert len(counted) == expected
