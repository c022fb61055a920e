"""A few of a large vocabulary's probabilities that stand for all of them, without a bias."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hf_distill.errors import InputError
from hf_distill.signals import SparseLogits


@dataclass(frozen=True)
class SparseSampling:
    """Keeps the ``top_k`` largest probabilities as they are, and an importance-sampled estimate of the rest.

    ``samples`` tokens are drawn, with replacement, from the rest in proportion to their probability, and each draw
    stands for an equal share of the rest's mass. So the expected value of every token's kept probability is its true
    probability, and with it that of the KL divergence and its gradient. The largest probabilities alone are biased,
    normalised or not: a student learns from them that the rest does not exist, so 0 samples are refused.

    Random Sampling Knowledge Distillation with the teacher's own distribution as the proposal (Anshumann et al. 2025,
    "Sparse Logit Sampling", https://arxiv.org/abs/2503.16870); it has no exact part, which is ``top_k=0`` here.

    Args:
        top_k: Tokens whose probabilities are exact; 0 or more.
        samples: Draws from the rest; 1 or more. The variance falls as 1 / samples.
        temperature: Softening, that of the objective: the kept probabilities are right at no other.
        seed: Of all draws.

    Raises:
        InputError: A value is out of its range.

    Example:
        >>> sparse = SparseSampling(top_k=2, samples=3, temperature=2.0, seed=0)(torch.zeros(4, 7, 100), seed=0)
        >>> sparse.token_ids.shape
        torch.Size([4, 7, 5])
    """

    top_k: int
    samples: int
    temperature: float
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.top_k < 0:
            raise InputError(f"top_k is {self.top_k}, and no fewer than 0 tokens can be kept: set it to 0 or more.")
        if self.samples < 1:
            raise InputError(
                f"samples is {self.samples}, and the largest probabilities alone give biased soft targets: draw at "
                "least one token from the rest."
            )
        if not (self.temperature > 0 and math.isfinite(self.temperature)):
            raise InputError(f"temperature is {self.temperature}, which softens nothing: set it above 0.")
        if self.seed < 0:
            raise InputError(f"seed is {self.seed}, and seeds are not negative: set it to 0 or more.")

    @property
    def kept(self) -> int:
        """Token ids and probabilities that each distribution leaves."""
        return self.top_k + self.samples

    @torch.no_grad()
    def __call__(self, logits: Tensor, seed: int) -> SparseLogits:
        """Draw once.

        Args:
            logits: ``(..., vocabulary)`` of the teacher, on any device.
            seed: Names the draw, 0 or more: the same logits and seeds give the same tokens on the same kind of device.

        Returns:
            ``kept`` int32 token ids and float32 probabilities for each distribution, the exact ones first. The
            probabilities sum to 1. A token that was drawn more than once is there more than once.

        Raises:
            InputError: The vocabulary has no more tokens than would be kept.
        """
        vocabulary = logits.shape[-1]
        if self.kept >= vocabulary:
            raise InputError(
                f"top_k {self.top_k} and samples {self.samples} keep as many tokens as the {vocabulary} there are, so "
                "sampling saves nothing: leave it out, or lower them."
            )
        probabilities = torch.softmax(logits.reshape(-1, vocabulary).float() / self.temperature, dim=-1)
        entropy = torch.special.entr(probabilities).sum(-1)
        largest, largest_ids = probabilities.topk(self.top_k, dim=-1)
        rest = probabilities.scatter_(-1, largest_ids, 0)
        mass = rest.sum(-1, keepdim=True)
        # With a mass of 0 there is nothing to draw in proportion to: any token will do, its share is 0.
        drawn_ids = torch.multinomial(
            rest + (mass == 0), self.samples, replacement=True, generator=self._generator(logits.device, seed)
        )
        shares = (mass / self.samples).expand(-1, self.samples)
        shape = logits.shape[:-1]
        return SparseLogits(
            token_ids=torch.cat([largest_ids, drawn_ids], dim=-1).int().reshape(*shape, self.kept),
            probabilities=torch.cat([largest, shares], dim=-1).reshape(*shape, self.kept),
            entropy=entropy.reshape(shape),
            temperature=self.temperature,
        )

    def _generator(self, device: torch.device, seed: int) -> torch.Generator:
        state = np.random.SeedSequence([self.seed, seed]).generate_state(1, np.uint64)
        return torch.Generator(device).manual_seed(int(state[0]))
