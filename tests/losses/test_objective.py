import math

import pytest
import torch

from hf_distill.errors import InputError
from hf_distill.losses import DistillationObjective, ProblemType
from hf_distill.losses.counted_items import ItemCounts, find_counted_items
from hf_distill.signals import Signals

ATTENDED = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])


def random_tensor(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 2


def signals(*shape, seed=0):
    return Signals(random_tensor(*shape, seed=seed), random_tensor(2, 4, 6, seed=seed + 10))


def find(labels=None, problem_type=ProblemType.SINGLE_LABEL, **batch):
    batch = {"input_ids": torch.ones_like(ATTENDED), "attention_mask": ATTENDED, **batch}
    if labels is not None:
        batch["labels"] = labels
    return find_counted_items(batch, problem_type, False, False)


def terms(objective, student, teacher, labels, problem_type=ProblemType.SINGLE_LABEL):
    counted = find(labels, problem_type)
    return objective.terms(student, teacher, labels, counted, counted.counts(), problem_type)


def divergence(student, teacher, temperature):
    def softmax(logits):
        powers = [math.exp(logit / temperature) for logit in logits.tolist()]
        return [power / sum(powers) for power in powers]

    pairs = zip(softmax(teacher), softmax(student), strict=True)
    return temperature**2 * sum(p * math.log(p / q) for p, q in pairs)


def binary_divergence(student, teacher, temperature):
    return divergence(torch.stack([student, student * 0]), torch.stack([teacher, teacher * 0]), temperature)


def cosine_distance(student, teacher):
    return 1 - (student @ teacher / (student.norm() * teacher.norm())).item()


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def test_the_weighted_sum_names_its_terms():
    objective = DistillationObjective(3.0, soft_target_weight=0.7, hard_target_weight=0.2, hidden_state_weight=5.0)
    student, teacher, labels = signals(2, 3), signals(2, 3, seed=1), torch.tensor([2, 0])
    found = terms(objective, student, teacher, labels)
    soft = mean(divergence(student.logits[i], teacher.logits[i], 3.0) for i in range(2))
    hard = mean(-torch.log_softmax(student.logits[i], -1)[labels[i]].item() for i in range(2))
    hidden = mean(
        cosine_distance(student.last_hidden_state[row, position], teacher.last_hidden_state[row, position])
        for row, position in ATTENDED.nonzero().tolist()
    )
    expected = {"soft_target_loss": soft, "hard_target_loss": hard, "hidden_state_loss": hidden}
    assert {name: value.item() for name, value in found.items()} == pytest.approx(expected, rel=1e-5)
    assert objective.weighted_sum(found).item() == pytest.approx(0.7 * soft + 0.2 * hard + 5 * hidden, rel=1e-5)
    assert objective.term_names == tuple(expected)


def test_weights_need_not_sum_to_one_and_a_weight_of_zero_leaves_its_term_out():
    assert DistillationObjective(2.0, 5.0, 0.0, 1.0).weights == {"soft_target_loss": 5.0, "hidden_state_loss": 1.0}
    objective = DistillationObjective(2.0, 0.0, 1.0)
    assert not objective.needs_teacher
    found = terms(objective, signals(2, 3), None, torch.tensor([2, 0]))
    assert list(found) == ["hard_target_loss"]


def test_tokens_without_a_label_teach_nothing():
    labels = torch.tensor([[1, -100, 2, -100], [0, -100, -100, -100]])
    student, teacher = signals(2, 4, 3), signals(2, 4, 3, seed=1)
    found = terms(DistillationObjective(), student, teacher, labels)
    labelled = (labels != -100).nonzero().tolist()
    soft = mean(divergence(student.logits[i, j], teacher.logits[i, j], 2.0) for i, j in labelled)
    hard = mean(-torch.log_softmax(student.logits[i, j], -1)[labels[i, j]].item() for i, j in labelled)
    assert found["soft_target_loss"].item() == pytest.approx(soft, rel=1e-5)
    assert found["hard_target_loss"].item() == pytest.approx(hard, rel=1e-5)


def test_without_labels_every_attended_token_teaches():
    student, teacher = signals(2, 4, 3), signals(2, 4, 3, seed=1)
    found = terms(DistillationObjective(hard_target_weight=0.0), student, teacher, None)
    attended = ATTENDED.nonzero().tolist()
    expected = mean(divergence(student.logits[i, j], teacher.logits[i, j], 2.0) for i, j in attended)
    assert found["soft_target_loss"].item() == pytest.approx(expected, rel=1e-5)


def test_without_labels_every_example_teaches():
    student, teacher = signals(2, 3), signals(2, 3, seed=1)
    found = terms(DistillationObjective(hard_target_weight=0.0), student, teacher, None)
    expected = mean(divergence(student.logits[i], teacher.logits[i], 2.0) for i in range(2))
    assert found["soft_target_loss"].item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("num_labels", [3, 4])
@pytest.mark.parametrize("problem_type", [ProblemType.MULTI_LABEL, ProblemType.REGRESSION])
def test_several_outputs_without_labels(problem_type, num_labels):
    """Also where there happen to be as many outputs as tokens, of which some are padding."""
    student, teacher = signals(2, num_labels), signals(2, num_labels, seed=1)
    found = terms(DistillationObjective(hard_target_weight=0.0), student, teacher, None, problem_type)
    pairs = list(zip(student.logits.flatten(), teacher.logits.flatten(), strict=True))
    expected = mean(binary_divergence(s, t, 2.0) for s, t in pairs)
    if problem_type is ProblemType.REGRESSION:
        expected = mean(((s - t) ** 2).item() for s, t in pairs)
    assert found["soft_target_loss"].item() == pytest.approx(expected, rel=1e-5)


def test_unknown_labels_of_several():
    labels = torch.tensor([[1.0, -100, 0], [-100, -100, 1]])
    student, teacher = signals(2, 3), signals(2, 3, seed=1)
    found = terms(DistillationObjective(), student, teacher, labels, ProblemType.MULTI_LABEL)
    known = (labels != -100).nonzero().tolist()
    expected = mean(binary_divergence(student.logits[i, j], teacher.logits[i, j], 2.0) for i, j in known)
    assert found["soft_target_loss"].item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("label_shape", [(2,), (2, 1)])
def test_regression_learns_the_teachers_score_and_the_labels(label_shape):
    labels = torch.tensor([1.5, -100.0]).view(label_shape)
    student, teacher = signals(2, 1), signals(2, 1, seed=1)
    found = terms(DistillationObjective(7.0), student, teacher, labels, ProblemType.REGRESSION)
    soft = (student.logits - teacher.logits).pow(2).mean().item()
    hard = (student.logits.flatten() - labels.flatten()).pow(2).mean().item()
    assert found["soft_target_loss"].item() == pytest.approx(soft, rel=1e-5)
    assert found["hard_target_loss"].item() == pytest.approx(hard, rel=1e-5)


def test_patches_of_an_image_are_averaged_within_it():
    labels = torch.tensor([0, 1])
    counted = find_counted_items(
        {"pixel_values": torch.zeros(2, 1), "labels": labels}, ProblemType("single_label_classification"), False, False
    )
    student, teacher = signals(2, 3), signals(2, 3, seed=1)
    objective = DistillationObjective(2.0, 0.0, 0.0, 1.0)
    found = objective.terms(student, teacher, labels, counted, counted.counts(), ProblemType.SINGLE_LABEL)
    expected = mean(
        cosine_distance(student.last_hidden_state[i, j], teacher.last_hidden_state[i, j])
        for i in range(2)
        for j in range(4)
    )
    assert found["hidden_state_loss"].item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("labels", "problem_type", "shape"),
    [
        (torch.full((2,), -100), ProblemType.SINGLE_LABEL, (2, 3)),
        (torch.full((2, 4), -100), ProblemType.SINGLE_LABEL, (2, 4, 3)),
        (torch.full((2, 3), -100.0), ProblemType.MULTI_LABEL, (2, 3)),
    ],
)
def test_where_nothing_counts_the_loss_is_zero_and_not_nan(labels, problem_type, shape):
    student = Signals(random_tensor(*shape).requires_grad_(), random_tensor(2, 4, 6).requires_grad_())
    counted = find(labels, problem_type, attention_mask=torch.zeros_like(ATTENDED))
    objective = DistillationObjective(hidden_state_weight=1.0)
    found = objective.terms(student, signals(*shape, seed=1), labels, counted, counted.counts(), problem_type)
    objective.weighted_sum(found).backward()
    assert [value.item() for value in found.values()] == [0, 0, 0]
    assert student.logits.grad.abs().max() == 0


def test_the_terms_are_shares_of_the_whole_step():
    """Two micro-batches of 1 and 3 labelled tokens, divided by the 4 of both, add up to the average over the 4."""
    labels = torch.tensor([[1, -100, -100, -100], [0, 2, 1, -100]])
    student, teacher = signals(2, 4, 3), signals(2, 4, 3, seed=1)
    objective = DistillationObjective(hidden_state_weight=1.0)
    whole = terms(objective, student, teacher, labels)
    totals = find(labels).counts()
    shares = []
    for row in (slice(0, 1), slice(1, 2)):
        batch = {"input_ids": ATTENDED[row], "attention_mask": ATTENDED[row], "labels": labels[row]}
        parts = [Signals(both.logits[row], both.last_hidden_state[row]) for both in (student, teacher)]
        counted = find_counted_items(batch, ProblemType.SINGLE_LABEL, False, False)
        shares.append(objective.terms(*parts, labels[row], counted, totals, ProblemType.SINGLE_LABEL))
    for name, value in whole.items():
        torch.testing.assert_close(shares[0][name] + shares[1][name], value)


def test_missing_labels_are_named():
    with pytest.raises(InputError, match="no `labels`.*hard_target_weight"):
        terms(DistillationObjective(), signals(2, 3), signals(2, 3), None)


def test_logits_of_unequal_shape_are_refused():
    with pytest.raises(InputError, match=r"\(2, 3\).*\(2, 4\)"):
        terms(DistillationObjective(), signals(2, 3), signals(2, 4), torch.tensor([0, 1]))


def test_models_without_hidden_states_are_refused():
    with pytest.raises(InputError, match="hidden_state_weight"):
        terms(DistillationObjective(hidden_state_weight=1.0), Signals(random_tensor(2, 3)), signals(2, 3), CLASSES)


CLASSES = torch.tensor([0, 1])


def test_the_counts_are_named():
    assert ItemCounts._fields == ("examples", "targets", "positions", "predictions")
