import math

import pytest
import torch
from objectives.micro_batches import (
    ATTENDED,
    cosine_distance,
    divergence,
    mean,
    micro_batch,
    random_attention,
    random_tensor,
    signals_of,
)

from hf_distill.errors import InputError
from hf_distill.losses.counted_items import find_counted_items
from hf_distill.objectives import (
    AttentionTransfer,
    Contrast,
    DistillationObjective,
    HardTargets,
    HiddenStates,
    Relations,
    Schedule,
    SoftTargets,
)
from hf_distill.objectives.attention import ATTENTION_LOSSES
from hf_distill.objectives.contrast import CONTRAST_LOSSES
from hf_distill.objectives.hidden_states import HIDDEN_STATE_LOSSES
from hf_distill.objectives.micro_batch import MicroBatch
from hf_distill.objectives.soft_targets import SOFT_TARGET_LOSSES
from hf_distill.problem_type import ProblemType

LAST = [[0, 0]]
SOFT_AND_HARD = DistillationObjective([SoftTargets(), HardTargets()])
SOFT = DistillationObjective([SoftTargets()])


def signals(*shape, seed=0):
    return signals_of(random_tensor(*shape, seed=seed), random_tensor(2, 4, 6, seed=seed + 10))


def values(objective, student, teacher, labels, problem_type=ProblemType.SINGLE_LABEL):
    return objective.values(student, teacher, micro_batch(labels, problem_type))


def binary_divergence(student, teacher, temperature):
    return divergence([student.item(), 0.0], [teacher.item(), 0.0], temperature)


def test_the_weighted_sum_names_its_terms():
    objective = DistillationObjective(
        [
            SoftTargets(weight=0.7, temperature=3.0),
            HardTargets(weight=0.2),
            HiddenStates(weight=5.0, layer_mapping=LAST),
        ]
    )
    student, teacher, labels = signals(2, 3), signals(2, 3, seed=1), torch.tensor([2, 0])
    found = values(objective, student, teacher, labels)
    soft = mean(divergence(student.logits[i].tolist(), teacher.logits[i].tolist(), 3.0) for i in range(2))
    hard = mean(-torch.log_softmax(student.logits[i], -1)[labels[i]].item() for i in range(2))
    hidden = mean(
        cosine_distance(student.hidden_states[0][row, position], teacher.hidden_states[0][row, position])
        for row, position in ATTENDED.nonzero().tolist()
    )
    expected = {"soft_target_loss": soft, "hard_target_loss": hard, "hidden_state_loss": hidden}
    assert {name: value.item() for name, value in found.items()} == pytest.approx(expected, rel=1e-5)
    assert objective.weighted_sum(found).item() == pytest.approx(0.7 * soft + 0.2 * hard + 5 * hidden, rel=1e-5)
    assert objective.term_names == tuple(expected)


def test_weights_need_not_sum_to_one_and_a_weight_of_zero_leaves_its_term_out():
    terms = [SoftTargets(weight=5.0), HardTargets(weight=0.0), HiddenStates(weight=1.0)]
    assert DistillationObjective(terms).term_names == ("soft_target_loss", "hidden_state_loss")
    objective = DistillationObjective([SoftTargets(weight=0.0), HardTargets(weight=1.0)])
    assert not objective.needs_teacher
    found = values(objective, signals(2, 3), None, torch.tensor([2, 0]))
    assert list(found) == ["hard_target_loss"]


def test_an_objective_of_nothing_or_of_two_terms_of_one_name_is_refused():
    for terms in ([], [SoftTargets(weight=0.0), HiddenStates(weight=0)]):
        with pytest.raises(InputError, match="weights.*are 0.*above 0"):
            DistillationObjective(terms)
    with pytest.raises(InputError, match="hidden_state_loss.*give each a name"):
        DistillationObjective([HiddenStates(), HiddenStates(loss="mse")])
    names = DistillationObjective([HiddenStates(), HiddenStates(loss="mse", name="mse")]).term_names
    assert names == ("hidden_state_loss", "mse")


@pytest.mark.parametrize("weight", [-0.1, math.nan, math.inf, Schedule(1.0, -1.0)])
def test_a_weight_is_a_number_of_0_or_more(weight):
    with pytest.raises(InputError, match="weight of relation_loss.*0 or more"):
        Relations(weight=weight)


def test_tokens_without_a_label_teach_nothing():
    labels = torch.tensor([[1, -100, 2, -100], [0, -100, -100, -100]])
    student, teacher = signals(2, 4, 3), signals(2, 4, 3, seed=1)
    found = values(SOFT_AND_HARD, student, teacher, labels)
    labelled = (labels != -100).nonzero().tolist()
    soft = mean(divergence(student.logits[i, j].tolist(), teacher.logits[i, j].tolist(), 2.0) for i, j in labelled)
    hard = mean(-torch.log_softmax(student.logits[i, j], -1)[labels[i, j]].item() for i, j in labelled)
    assert found["soft_target_loss"].item() == pytest.approx(soft, rel=1e-5)
    assert found["hard_target_loss"].item() == pytest.approx(hard, rel=1e-5)


def test_without_labels_every_attended_token_teaches():
    student, teacher = signals(2, 4, 3), signals(2, 4, 3, seed=1)
    found = values(SOFT, student, teacher, None)
    attended = ATTENDED.nonzero().tolist()
    expected = mean(divergence(student.logits[i, j].tolist(), teacher.logits[i, j].tolist(), 2.0) for i, j in attended)
    assert found["soft_target_loss"].item() == pytest.approx(expected, rel=1e-5)


def test_without_labels_every_example_teaches():
    student, teacher = signals(2, 3), signals(2, 3, seed=1)
    found = values(SOFT, student, teacher, None)
    expected = mean(divergence(student.logits[i].tolist(), teacher.logits[i].tolist(), 2.0) for i in range(2))
    assert found["soft_target_loss"].item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("num_labels", [3, 4])
@pytest.mark.parametrize("problem_type", [ProblemType.MULTI_LABEL, ProblemType.REGRESSION])
def test_several_outputs_without_labels(problem_type, num_labels):
    """Also where there happen to be as many outputs as tokens, of which some are padding."""
    student, teacher = signals(2, num_labels), signals(2, num_labels, seed=1)
    found = values(SOFT, student, teacher, None, problem_type)
    pairs = list(zip(student.logits.flatten(), teacher.logits.flatten(), strict=True))
    expected = mean(binary_divergence(s, t, 2.0) for s, t in pairs)
    if problem_type is ProblemType.REGRESSION:
        expected = mean(((s - t) ** 2).item() for s, t in pairs)
    assert found["soft_target_loss"].item() == pytest.approx(expected, rel=1e-5)


def test_unknown_labels_of_several():
    labels = torch.tensor([[1.0, -100, 0], [-100, -100, 1]])
    student, teacher = signals(2, 3), signals(2, 3, seed=1)
    found = values(SOFT_AND_HARD, student, teacher, labels, ProblemType.MULTI_LABEL)
    known = (labels != -100).nonzero().tolist()
    expected = mean(binary_divergence(student.logits[i, j], teacher.logits[i, j], 2.0) for i, j in known)
    assert found["soft_target_loss"].item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("label_shape", [(2,), (2, 1)])
def test_regression_learns_the_teachers_score_and_the_labels(label_shape):
    labels = torch.tensor([1.5, -100.0]).view(label_shape)
    student, teacher = signals(2, 1), signals(2, 1, seed=1)
    objective = DistillationObjective([SoftTargets(temperature=7.0), HardTargets()])
    found = values(objective, student, teacher, labels, ProblemType.REGRESSION)
    soft = (student.logits - teacher.logits).pow(2).mean().item()
    hard = (student.logits.flatten() - labels.flatten()).pow(2).mean().item()
    assert found["soft_target_loss"].item() == pytest.approx(soft, rel=1e-5)
    assert found["hard_target_loss"].item() == pytest.approx(hard, rel=1e-5)


# ---- Examples without a label: the teacher answers for them all the same ----


def test_an_example_without_a_class_counts_in_soft_targets_alone():
    labels = torch.tensor([-100, 2])
    student, teacher = signals(2, 3), signals(2, 3, seed=1)
    found = values(SOFT_AND_HARD, student, teacher, labels)
    soft = mean(divergence(student.logits[i].tolist(), teacher.logits[i].tolist(), 2.0) for i in range(2))
    assert found["soft_target_loss"].item() == pytest.approx(soft, rel=1e-5)
    hard = -torch.log_softmax(student.logits[1], -1)[2].item()
    assert found["hard_target_loss"].item() == pytest.approx(hard, rel=1e-5)


def test_an_example_without_any_of_several_labels_counts_in_soft_targets_alone():
    """A single label that is unknown is left out of both."""
    labels = torch.tensor([[-100.0, -100, -100], [1, -100, 0]])
    student, teacher = signals(2, 3), signals(2, 3, seed=1)
    found = values(SOFT_AND_HARD, student, teacher, labels, ProblemType.MULTI_LABEL)
    counted = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 2)]
    soft = mean(binary_divergence(student.logits[place], teacher.logits[place], 2.0) for place in counted)
    assert found["soft_target_loss"].item() == pytest.approx(soft, rel=1e-5)
    on, off = torch.sigmoid(student.logits[1, 0]), torch.sigmoid(-student.logits[1, 2])
    assert found["hard_target_loss"].item() == pytest.approx(-(on.log() + off.log()).item() / 2, rel=1e-5)


@pytest.mark.parametrize("label_shape", [(2,), (2, 1)])
def test_an_example_without_a_score_counts_in_soft_targets_alone(label_shape):
    labels = torch.tensor([torch.nan, 3.0]).view(label_shape)
    student, teacher = signals(2, 1), signals(2, 1, seed=1)
    student.logits.requires_grad_()
    found = values(SOFT_AND_HARD, student, teacher, labels, ProblemType.REGRESSION)
    SOFT_AND_HARD.weighted_sum(found).backward()
    soft = (student.logits - teacher.logits).pow(2).mean().item()
    assert found["soft_target_loss"].item() == pytest.approx(soft, rel=1e-5)
    assert found["hard_target_loss"].item() == pytest.approx((student.logits[1, 0].item() - 3) ** 2, rel=1e-5)
    expected = [(student.logits[0] - teacher.logits[0]).item()]
    expected.append((student.logits[1] - teacher.logits[1]).item() + 2 * (student.logits[1, 0].item() - 3))
    assert student.logits.grad.flatten().tolist() == pytest.approx(expected, rel=1e-5)


def test_a_token_without_a_label_is_left_out_of_both_where_its_row_has_none():
    labels = torch.tensor([[-100] * 4, [1, -100, -100, -100]])
    student, teacher = signals(2, 4, 3), signals(2, 4, 3, seed=1)
    found = values(SOFT_AND_HARD, student, teacher, labels)
    soft = divergence(student.logits[1, 0].tolist(), teacher.logits[1, 0].tolist(), 2.0)
    assert found["soft_target_loss"].item() == pytest.approx(soft, rel=1e-5)


def test_patches_of_an_image_are_averaged_within_it():
    labels = torch.tensor([0, 1])
    batch = {"pixel_values": torch.zeros(2, 1), "labels": labels}
    counted = find_counted_items(batch, ProblemType.SINGLE_LABEL, False, False)
    student, teacher = signals(2, 3), signals(2, 3, seed=1)
    objective = DistillationObjective([HiddenStates(layer_mapping=LAST)])
    found = objective.values(student, teacher, MicroBatch(labels, counted, counted.counts(), ProblemType.SINGLE_LABEL))
    expected = mean(
        cosine_distance(student.hidden_states[0][i, j], teacher.hidden_states[0][i, j])
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
    """As in a batch of which all rows are repeated: every term there is."""
    kinds = [SoftTargets(loss=loss, name=loss) for loss in SOFT_TARGET_LOSSES]
    if problem_type is not ProblemType.SINGLE_LABEL:
        kinds = kinds[:-1]
    kinds += [SoftTargets(name="weighed", weigh_by_confidence=True), HardTargets()]
    kinds += [HiddenStates(loss=loss, name=f"states {loss}", layer_mapping=LAST) for loss in HIDDEN_STATE_LOSSES]
    kinds += [AttentionTransfer(loss=loss, name=loss + "s", layer_mapping=[[1, 1]]) for loss in ATTENTION_LOSSES]
    kinds += [Relations(relation_heads=2, layer_mapping=[[1, 1]])]
    kinds += [Contrast(loss=loss, name=f"contrast {loss}", layer_mapping=LAST) for loss in CONTRAST_LOSSES]
    parts = []
    for seed in (0, 1):
        logits, state = random_tensor(*shape, seed=seed), random_tensor(2, 4, 6, seed=seed + 10)
        parts.append([logits, state, {1: random_attention(2, 4, seed)}])
    leaves = [*parts[0][:2], parts[0][2][1].query]
    for leaf in leaves:
        leaf.requires_grad_()
    nothing = micro_batch(
        labels, problem_type, attended=torch.zeros_like(ATTENDED), example_mask=torch.tensor([False, False])
    )
    student, teacher = (signals_of(logits, state, attention=attention) for logits, state, attention in parts)
    objective = DistillationObjective(kinds)
    found = objective.values(student, teacher, nothing)
    objective.weighted_sum(found).backward()
    assert len(found) == len(kinds)
    for name, value in found.items():
        assert value.item() == 0, name
    for leaf in leaves:
        assert leaf.grad.abs().max() == 0


def test_the_terms_are_shares_of_the_whole_step():
    """Two micro-batches of 1 and 3 labelled tokens, divided by the 4 of both, add up to the average over the 4."""
    labels = torch.tensor([[1, -100, -100, -100], [0, 2, 1, -100]])
    student, teacher = signals(2, 4, 3), signals(2, 4, 3, seed=1)
    objective = DistillationObjective([SoftTargets(), HardTargets(), HiddenStates(layer_mapping=LAST)])
    whole = values(objective, student, teacher, labels)
    totals = micro_batch(labels).totals
    shares = []
    for row in (slice(0, 1), slice(1, 2)):
        parts = [signals_of(both.logits[row], both.hidden_states[0][row]) for both in (student, teacher)]
        shares.append(objective.values(*parts, micro_batch(labels[row], attended=ATTENDED[row], totals=totals)))
    for name, value in whole.items():
        torch.testing.assert_close(shares[0][name] + shares[1][name], value)


def test_missing_labels_are_named():
    with pytest.raises(InputError, match="no `labels`.*hard_target_weight"):
        values(SOFT_AND_HARD, signals(2, 3), signals(2, 3), None)


def test_logits_of_unequal_shape_are_refused():
    with pytest.raises(InputError, match=r"\(2, 3\).*\(2, 4\)"):
        values(SOFT_AND_HARD, signals(2, 3), signals(2, 4), torch.tensor([0, 1]))


def test_it_is_the_same_object_at_all_times_where_nothing_is_scheduled():
    assert SOFT_AND_HARD.at(0.0) is SOFT_AND_HARD.at(0.7) is SOFT_AND_HARD
