"""How the teacher ranks the classes of each item as target."""

from torch import Tensor
from torch.nn import functional as F

from hf_distill.losses.pearson_correlation import pearson_correlation


def inter_class_loss(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """T² · (1 − Pearson's correlation) of an item's softened probabilities, over its classes.

    The relation between classes of DIST (Huang et al. 2022, https://arxiv.org/abs/2205.10536, section 4): the student
    may be less sure than a much stronger teacher, as long as it finds the same classes likely.

    With two classes all there is to learn is which one is likelier: the correlation is then 1 or -1 and has no
    gradient, and the relation within classes has to teach. A correlation with equal probabilities for all classes is
    taken as 0, without a gradient.

    Args:
        student_logits: ``(..., num_classes)``.
        teacher_logits: Same shape; receives no gradient.
        temperature: Softening, greater than 0.

    Returns:
        ``(...)``, between 0 and 2 T², one value for each item; the caller averages over those that count.
    """
    student = F.softmax(student_logits.float() / temperature, dim=-1)
    teacher = F.softmax(teacher_logits.detach().float() / temperature, dim=-1)
    return (1 - pearson_correlation(student, teacher)) * temperature**2
