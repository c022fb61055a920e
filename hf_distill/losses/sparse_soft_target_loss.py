"""Soft targets for a large vocabulary, of which the teacher's side was sampled."""

from torch import Tensor
from torch.nn import functional as F

from hf_distill.errors import InputError
from hf_distill.signals import SparseLogits


def sparse_soft_target_loss(student_logits: Tensor, sparse: SparseLogits, temperature: float) -> Tensor:
    """An estimate of KL(teacher ‖ student) between temperature-softened distributions, times T².

    With p the teacher's kept probabilities, H its whole entropy and q the student's distribution over the whole
    vocabulary, it is T² · (Σ p · −log q − H), whose gradient in the student's logits is T · (Σp · q − p). Both are
    linear in p. So where the expected value of p is the teacher's distribution, as
    :class:`~hf_distill.teachers.sparse_sampling.SparseSampling` draws it, that of the estimate and of its gradient
    are those of the dense loss (Anshumann et al. 2025, https://arxiv.org/abs/2503.16870).

    Args:
        student_logits: ``(..., vocabulary)``, all of them.
        sparse: Of the teacher; ``(..., kept)``.
        temperature: Softening, greater than 0; the one of ``sparse``.

    Returns:
        ``(...)``, one estimate in nats for each distribution. A single one may be below 0, which a divergence is not.

    Raises:
        InputError: The probabilities were taken at another temperature, or not for these rows.
    """
    if temperature != sparse.temperature:
        raise InputError(
            f"The teacher's probabilities were sampled at temperature {sparse.temperature:g} and the objective's is "
            f"{temperature:g}, at which they are others: set temperature to {sparse.temperature:g}, or sample again."
        )
    if student_logits.shape[:-1] != sparse.entropy.shape:
        raise InputError(
            f"The student's logits are {tuple(student_logits.shape)} and the teacher's probabilities are there for "
            f"{tuple(sparse.entropy.shape)}: soft targets need one teacher distribution for each of the student's. "
            "Use the rows, tokens and truncation that the probabilities were sampled from."
        )
    student_log_probs = F.log_softmax(student_logits.float() / temperature, dim=-1)
    kept_log_probs = student_log_probs.gather(-1, sparse.token_ids.long())
    cross_entropy = -(sparse.probabilities.float() * kept_log_probs).sum(-1)
    return (cross_entropy - sparse.entropy.float()) * temperature**2
