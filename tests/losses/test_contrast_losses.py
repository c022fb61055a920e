"""Distances, angles and similarities of the items of a batch, from the equations of RKD and SPKD."""

from itertools import permutations

import pytest
import torch

from hf_distill.losses import angle_relation_loss, distance_relation_loss, similarity_preserving_loss


def random_items(count, width, seed=0):
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def huber(x):
    return x * x / 2 if x.abs() <= 1 else x.abs() - 0.5


def mean(values):
    return sum(values) / len(values)


def naive_distance_loss(student, teacher):
    pairs = list(permutations(range(len(student)), 2))
    found = []
    for items in (student, teacher):
        distances = [(items[i] - items[j]).norm() for i, j in pairs]
        unit = mean(distances)
        found.append([distance / unit for distance in distances])
    return mean([huber(s - t) for s, t in zip(*found, strict=True)])


def naive_angle_loss(student, teacher):
    def cosine(items, i, j, k):
        first, second = items[i] - items[j], items[k] - items[j]
        return first @ second / (first.norm() * second.norm())

    triplets = permutations(range(len(student)), 3)
    return mean([huber(cosine(student, *triplet) - cosine(teacher, *triplet)) for triplet in triplets])


def naive_similarity_loss(student, teacher):
    total = 0
    for i in range(len(student)):
        rows = []
        for items in (student, teacher):
            row = torch.stack([items[i] @ other for other in items])
            rows.append(row / row.norm())
        total = total + ((rows[0] - rows[1]) ** 2).sum()
    return total / len(student) ** 2


LOSSES = {
    "distance": (distance_relation_loss, naive_distance_loss, 2),
    "angle": (angle_relation_loss, naive_angle_loss, 3),
    "similarity": (similarity_preserving_loss, naive_similarity_loss, 2),
}
each_loss = pytest.mark.parametrize(("loss", "naive", "fewest"), LOSSES.values(), ids=LOSSES)


@each_loss
@pytest.mark.parametrize("count", [3, 6])
@pytest.mark.parametrize("spread", [0.1, 1.0, 50.0])
def test_value_and_gradient_are_those_of_the_equations(loss, naive, fewest, count, spread):
    """A far item makes some differences larger than 1, where the Huber loss is no square."""
    student, teacher = random_items(count, 4), random_items(count, 7, seed=1)
    student[0] *= spread
    twin = student.double().requires_grad_()
    student.requires_grad_()
    value, expected = loss(student, teacher), naive(twin, teacher.double())
    value.backward()
    expected.backward()
    assert value.shape == ()
    assert value.item() == pytest.approx(expected.item(), rel=1e-4)
    torch.testing.assert_close(student.grad.double(), twin.grad, rtol=1e-3, atol=1e-5)


@each_loss
def test_zero_at_equality_and_positive_elsewhere(loss, naive, fewest):
    student = random_items(6, 4).requires_grad_()
    value = loss(student, student.detach())
    value.backward()
    assert value.item() == 0 and student.grad.abs().max() == 0
    assert loss(student, random_items(6, 4, seed=1)) > 1e-3


@each_loss
def test_scale_and_rotation_are_free(loss, naive, fewest):
    teacher = random_items(6, 4)
    rotation = torch.linalg.qr(random_items(4, 4, seed=1))[0]
    torch.testing.assert_close(loss(3 * teacher @ rotation, teacher), torch.zeros(()), rtol=0, atol=1e-6)


@each_loss
def test_the_order_of_the_items_does_not_matter(loss, naive, fewest):
    student, teacher = random_items(6, 4), random_items(6, 7, seed=1)
    torch.testing.assert_close(loss(student.flip(0), teacher.flip(0)), loss(student, teacher))


@each_loss
def test_the_gradient_reaches_only_the_student(loss, naive, fewest):
    student, teacher = random_items(6, 4).requires_grad_(), random_items(6, 7, seed=1).requires_grad_()
    loss(student, teacher).backward()
    assert student.grad.abs().sum() > 0
    assert teacher.grad is None


@each_loss
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_items_are_compared_in_single_precision(loss, naive, fewest, dtype):
    student, teacher = (200 * random_items(6, 500)).to(dtype), (200 * random_items(6, 700, seed=1)).to(dtype)
    value = loss(student, teacher)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, loss(student.float(), teacher.float()), rtol=0, atol=0)


@each_loss
def test_too_few_items_say_nothing(loss, naive, fewest):
    for count in range(fewest):
        student = random_items(count, 4).requires_grad_()
        value = loss(student, random_items(count, 7, seed=1))
        value.backward()
        assert value.item() == 0
        assert student.grad.shape == (count, 4) and not student.grad.any()


@each_loss
def test_equal_items_stay_finite(loss, naive, fewest):
    student, teacher = random_items(6, 4), random_items(6, 7, seed=1)
    student[3] = student[1]
    teacher[5] = teacher[2]
    for items in (student, torch.ones(6, 4), torch.zeros(6, 4)):
        items = items.clone().requires_grad_()
        value = loss(items, teacher)
        value.backward()
        assert torch.isfinite(value)
        assert items.grad.abs().max() < 100
    assert torch.isfinite(loss(random_items(6, 4), torch.zeros(6, 7)))


def test_equal_items_have_distance_and_cosine_0():
    apart, together = torch.tensor([[0.0], [1.0], [3.0]]), torch.tensor([[2.0], [2.0], [2.0]])
    assert distance_relation_loss(together, apart).item() == pytest.approx((0.5**2 / 2 + 1 / 2 + 1) / 3)
    assert angle_relation_loss(together, apart).item() == pytest.approx(0.5)


def test_close_items_keep_their_distances():
    """100 away from the origin, where products of two items lose what tells them apart."""
    student = 100 + 1e-3 * random_items(30, 4)
    expected = naive_distance_loss(student.double(), random_items(30, 4, seed=1).double()).item()
    assert distance_relation_loss(student, random_items(30, 4, seed=1)).item() == pytest.approx(expected, rel=1e-4)
