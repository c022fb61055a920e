"""Micro-batches and signals of random numbers, and loops that say what their averages should be."""

import math

import torch

from hf_distill.attention_signals import AttentionSignals
from hf_distill.losses.counted_items import find_counted_items
from hf_distill.objectives.micro_batch import MicroBatch
from hf_distill.problem_type import ProblemType
from hf_distill.signals import Signals

ATTENDED = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])


def random_tensor(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 2


def random_attention(heads, width, seed, rows=2, sequence=4, key_heads=None, scaling=None, bias=False):
    """Of one layer."""
    query = random_tensor(rows, heads, sequence, width, seed=seed)
    key, value = (random_tensor(rows, key_heads or heads, sequence, width, seed=seed + part) for part in (1, 2))
    position_bias = random_tensor(1, heads, sequence, sequence, seed=seed + 3) if bias else None
    return AttentionSignals(query, key, value, scaling or width**-0.5, position_bias)


def signals_of(logits, *states, attention=None):
    """Hidden states counted from 0."""
    return Signals(logits, hidden_states=dict(enumerate(states)), attention=attention or {})


def micro_batch(labels=None, problem_type=ProblemType.SINGLE_LABEL, attended=ATTENDED, totals=None, **options):
    """One of tokens; ``options`` are those of :class:`MicroBatch`, and the example mask."""
    batch = {"input_ids": torch.ones_like(attended), "attention_mask": attended}
    if labels is not None:
        batch["labels"] = labels
    batch |= {name: options.pop(name) for name in ("example_mask",) if name in options}
    counted = find_counted_items(batch, problem_type, False, False)
    return MicroBatch(labels, counted, totals or counted.counts(), problem_type, **options)


def softmax(scores):
    largest = max(scores)
    powers = [math.exp(score - largest) for score in scores]
    return [power / sum(powers) for power in powers]


def kl(target, own):
    return sum(p * math.log(p / q) for p, q in zip(target, own, strict=True) if p > 0)


def divergence(student, teacher, temperature):
    """T² · KL(teacher ‖ student) of two lists of scores."""
    soft = [softmax([score / temperature for score in scores]) for scores in (list(teacher), list(student))]
    return temperature**2 * kl(*soft)


def cosine_distance(student, teacher):
    return 1 - (student @ teacher / (student.norm() * teacher.norm())).item()


def mean(values):
    values = list(values)
    return sum(values) / len(values)
