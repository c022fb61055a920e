"""Each term that compares layers, against loops over the examples, positions, heads and keys that count."""

import math

import pytest
import torch
from objectives.micro_batches import (
    ATTENDED,
    cosine_distance,
    kl,
    mean,
    micro_batch,
    random_attention,
    random_tensor,
    signals_of,
    softmax,
)

from hf_distill.errors import InputError
from hf_distill.model_shape import ModelShape
from hf_distill.objectives import AttentionTransfer, Contrast, HiddenStates, Relations

LEFT = ATTENDED.flip(1)
MASKS = {
    "right": {"attended": ATTENDED},
    "left": {"attended": LEFT},
    "repeated": {"attended": ATTENDED, "example_mask": torch.tensor([True, False])},
    "causal": {"attended": ATTENDED, "is_causal": True},
    "causal, left": {"attended": LEFT, "is_causal": True},
}
masks = pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)


def counted_positions(mask):
    """The pairs (row, position) that count."""
    rows = mask.get("example_mask", torch.tensor([True, True]))
    return [(row, place) for row, place in mask["attended"].nonzero().tolist() if rows[row]]


def keys_of(mask, row, place):
    """What a position may look at."""
    keys = mask["attended"][row].nonzero().flatten().tolist()
    return [key for key in keys if key <= place] if mask.get("is_causal") else keys


# ---- Hidden states ----


def distance(loss, student, teacher):
    if loss == "cosine":
        return cosine_distance(student, teacher)
    if loss == "first_token":
        student, teacher = student / student.norm(), teacher / teacher.norm()
        return sum((s - t) ** 2 for s, t in zip(student.tolist(), teacher.tolist(), strict=True))
    return mean((s - t) ** 2 for s, t in zip(student.tolist(), teacher.tolist(), strict=True))


@masks
@pytest.mark.parametrize("loss", ["cosine", "mse", "first_token"])
def test_hidden_states(loss, mask):
    student = signals_of(no_logits(), *(random_tensor(2, 4, 6, seed=seed) for seed in (1, 2, 3)))
    teacher = signals_of(no_logits(), *(random_tensor(2, 4, 6, seed=seed) for seed in (4, 5, 6, 7, 8)))
    pairs = [[0, 0], [1, 4], [2, 3]]
    places = counted_positions(mask)
    if loss == "first_token":
        places = [next(place for place in places if place[0] == row) for row in sorted({row for row, _ in places})]
    expected = mean(
        mean(distance(loss, student.hidden_states[s][place], teacher.hidden_states[t][place]) for place in places)
        for s, t in pairs
    )
    term = HiddenStates(loss=loss, layer_mapping=pairs)
    assert term(student, teacher, micro_batch(**mask)).item() == pytest.approx(expected, rel=1e-4)


def no_logits():
    return torch.zeros(2, 3)


def test_states_of_another_width_go_through_the_layers_projection():
    student = signals_of(no_logits(), random_tensor(2, 4, 6), random_tensor(2, 4, 6, seed=1))
    teacher = signals_of(no_logits(), random_tensor(2, 4, 8, seed=2), random_tensor(2, 4, 8, seed=3))
    term = HiddenStates(loss="mse", layer_mapping=[[0, 1], [1, 0]])
    with pytest.raises(InputError, match=r"\(2, 4, 6\).*\(2, 4, 8\)"):
        term(student, teacher, micro_batch())
    widths = term.projections(ModelShape(1, 6), ModelShape(1, 8))
    assert widths == {"hidden_state_loss_0": (6, 8), "hidden_state_loss_1": (6, 8)}
    assert term.projections(ModelShape(1, 8), ModelShape(1, 8)) == {}
    maps = {name: torch.nn.Linear(*width) for name, width in widths.items()}
    expected = []
    for own, other in ((0, 1), (1, 0)):
        linear = maps[f"hidden_state_loss_{own}"]
        for place in counted_positions(MASKS["right"]):
            projected = linear.weight @ student.hidden_states[own][place] + linear.bias
            expected.append((projected - teacher.hidden_states[other][place]).pow(2).mean().item())
    value = term(student, teacher, micro_batch(projections=maps))
    assert value.item() == pytest.approx(mean(expected), rel=1e-4)


# ---- Attention ----


def scores(attention, row, head, query, keys):
    """The scaled dot products of one query, and the position bias where there is one."""
    group = attention.query.shape[1] // attention.key.shape[1]
    values = []
    for key in keys:
        product = attention.query[row, head, query] @ attention.key[row, head // group, key] * attention.scaling
        bias = 0.0 if attention.position_bias is None else attention.position_bias[0, head, query, key]
        values.append((product + bias).item())
    return values


def attention_distance(loss, heads, student, teacher, row, query, keys):
    maps = [
        [scores(attention, row, head, query, keys) for head in range(attention.query.shape[1])]
        for attention in (student, teacher)
    ]
    if loss == "probabilities":
        maps = [[softmax(head) for head in model] for model in maps]
    if heads == "sum":
        sums = [[sum(head[key] for head in model) for key in range(len(keys))] for model in maps]
        if loss == "probabilities":
            sums = [[value / len(model) for value in total] for total, model in zip(sums, maps, strict=True)]
        maps = [[total] for total in sums]
    if loss == "probabilities":
        return mean(kl(target, own) for own, target in zip(*maps, strict=True))
    return mean(
        mean((s - t) ** 2 for s, t in zip(own, target, strict=True)) for own, target in zip(*maps, strict=True)
    )


@masks
@pytest.mark.parametrize("heads", ["each", "sum"])
@pytest.mark.parametrize("loss", ["scores", "probabilities"])
def test_attention(loss, heads, mask):
    """With a position bias, a scaling of its own and, in the teacher, fewer heads of keys than of queries."""
    of_student = {1: random_attention(2, 3, 1, bias=True), 2: random_attention(2, 3, 11)}
    teacher_heads = 2 if heads == "each" else 4
    key_heads = 1 if heads == "each" else 2
    of_teacher = {
        1: random_attention(teacher_heads, 5, 21, scaling=0.3, key_heads=key_heads),
        3: random_attention(teacher_heads, 5, 31, bias=True),
    }
    pairs = [[1, 1], [2, 3]]
    expected = mean(
        mean(
            attention_distance(loss, heads, of_student[s], of_teacher[t], row, place, keys_of(mask, row, place))
            for row, place in counted_positions(mask)
        )
        for s, t in pairs
    )
    term = AttentionTransfer(loss=loss, heads=heads, layer_mapping=pairs)
    student, teacher = (signals_of(no_logits(), attention=attention) for attention in (of_student, of_teacher))
    assert term(student, teacher, micro_batch(**mask)).item() == pytest.approx(expected, rel=1e-4)


# ---- Relations ----


def relation(attention, first, second, relation_heads, row, query, keys):
    """The distribution of each relation head, from the heads side by side."""
    parts = [getattr(attention, part)[row].transpose(0, 1).flatten(1) for part in (first, second)]
    width = parts[0].shape[1] // relation_heads
    found = []
    for head in range(relation_heads):
        here = slice(head * width, (head + 1) * width)
        products = [(parts[0][query, here] @ parts[1][key, here]).item() / math.sqrt(width) for key in keys]
        found.append(softmax(products))
    return found


@masks
@pytest.mark.parametrize("relations", [("query-query", "key-key", "value-value"), ("query-key", "value-value")])
def test_relations(relations, mask):
    """Of models of different width and number of heads."""
    own, other = random_attention(2, 6, 1), random_attention(5, 4, 21)
    expected = mean(
        mean(
            mean(
                kl(target, found)
                for found, target in zip(
                    *(
                        relation(attention, *name.split("-"), 4, row, place, keys_of(mask, row, place))
                        for attention in (own, other)
                    ),
                    strict=True,
                )
            )
            for row, place in counted_positions(mask)
        )
        for name in relations
    )
    term = Relations(relations=relations, relation_heads=4, layer_mapping=[[2, 3]])
    student, teacher = signals_of(no_logits(), attention={2: own}), signals_of(no_logits(), attention={3: other})
    assert term(student, teacher, micro_batch(**mask)).item() == pytest.approx(expected, rel=1e-4)


# ---- Contrast ----


def huber(difference):
    return difference**2 / 2 if abs(difference) < 1 else abs(difference) - 0.5


def distances(items):
    pairs = [(i, j) for i in range(len(items)) for j in range(len(items)) if i != j]
    values = {pair: (items[pair[0]] - items[pair[1]]).norm().item() for pair in pairs}
    average = mean(values.values())
    return {pair: value / average for pair, value in values.items()}


def angles(items):
    found = {}
    for i in range(len(items)):
        for j in range(len(items)):
            for k in range(len(items)):
                if len({i, j, k}) == 3:
                    first, second = items[i] - items[j], items[k] - items[j]
                    found[i, j, k] = (first @ second / (first.norm() * second.norm())).item()
    return found


def similarities(items):
    rows = torch.stack([torch.stack([one @ other for other in items]) for one in items])
    rows = rows / rows.norm(dim=1, keepdim=True)
    return {(i, j): rows[i, j].item() for i in range(len(items)) for j in range(len(items))}


def compared(describe, student, teacher, loss=huber):
    own, other = describe(student), describe(teacher)
    return mean(loss(own[which] - other[which]) for which in own)


CONTRASTS = {
    "distance": lambda s, t: compared(distances, s, t),
    "angle": lambda s, t: compared(angles, s, t),
    "distance_angle": lambda s, t: compared(distances, s, t) + 2 * compared(angles, s, t),
    "similarity": lambda s, t: compared(similarities, s, t, lambda difference: difference**2),
}


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("pooling", ["mean", "first"])
@pytest.mark.parametrize("loss", CONTRASTS)
def test_contrast(loss, pooling, side):
    """Of the five examples of six that count, at two pairs of layers of models of different width."""
    attended = torch.tensor([[1] * length + [0] * (5 - length) for length in (5, 1, 3, 2, 4, 5)])
    attended = attended if side == "right" else attended.flip(1)
    counts = torch.tensor([True, True, False, True, True, True])
    student = signals_of(torch.zeros(6, 3), *(random_tensor(6, 5, 4, seed=seed) for seed in (1, 2, 3)))
    teacher = signals_of(torch.zeros(6, 3), *(random_tensor(6, 5, 7, seed=seed) for seed in (4, 5, 6)))

    def pooled(states):
        vectors = []
        for row in counts.nonzero().flatten().tolist():
            there = attended[row].nonzero().flatten().tolist()
            there = there[:1] if pooling == "first" else there
            vectors.append(sum(states[row, place] for place in there) / len(there))
        return vectors

    pairs = [[0, 2], [2, 1]]
    expected = mean(
        CONTRASTS[loss](pooled(student.hidden_states[s]), pooled(teacher.hidden_states[t])) for s, t in pairs
    )
    term = Contrast(loss=loss, pooling=pooling, layer_mapping=pairs)
    batch = micro_batch(attended=attended, example_mask=counts)
    assert term(student, teacher, batch).item() == pytest.approx(expected, rel=1e-4)


# ---- All of them ----


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: HiddenStates(loss="l1"), "hidden_state_loss is 'l1'; use one of cosine, mse, first_token"),
        (lambda: AttentionTransfer(loss="kl"), "attention_loss is 'kl'; use one of scores, probabilities"),
        (lambda: AttentionTransfer(heads="all"), "attention_heads is 'all'; use one of each, sum"),
        (lambda: Relations(relations=("query-kee",)), "relations is .'query-kee'.; name one or more"),
        (lambda: Relations(relations=()), "relations is ..; name one or more"),
        (lambda: Relations(relation_heads=0), "relation_heads is 0; use 1 or more"),
        (lambda: Contrast(loss="cosine"), "contrast_loss is 'cosine'; use one of distance, angle"),
        (lambda: Contrast(pooling="max"), "contrast_pooling is 'max'; use one of mean, first"),
    ],
)
def test_unknown_settings_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_heads_that_cannot_be_compared_one_by_one_are_refused_before_training():
    student, teacher = ModelShape(2, 16, 2), ModelShape(3, 32, 4)
    with pytest.raises(InputError, match="2 attention heads and the teacher 4.*sum.*relation_weight"):
        AttentionTransfer().resolved(student, teacher)
    assert AttentionTransfer(heads="sum").resolved(student, teacher).pairs == ((2, 3),)
    assert Relations().resolved(student, teacher).relation_heads == 4
    with pytest.raises(InputError, match="relation_heads is unset"):
        Relations().resolved(student, ModelShape(3))
