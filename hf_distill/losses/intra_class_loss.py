"""How the teacher ranks the items of a batch in each class as target."""

from torch import Tensor
from torch.nn import functional as F

from hf_distill.losses.pearson_correlation import pearson_correlation


def intra_class_loss(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """T² · (1 − Pearson's correlation) of a class's softened probabilities over the items, averaged over the classes.

    The relation within classes of DIST (Huang et al. 2022, https://arxiv.org/abs/2205.10536, section 4): which items
    have more of a class than others. It compares the items with one another, so it is no sum over them, and the more
    there are the more it says: with one item every correlation is taken as 0, which gives T² and no gradient, and with
    two it is 1 or -1, which has no gradient either. The same goes for a class that all items have alike.

    Args:
        student_logits: ``(items, num_classes)``, only of items that count.
        teacher_logits: Same shape; receives no gradient.
        temperature: Softening, greater than 0.

    Returns:
        A scalar between 0 and 2 T².
    """
    student = F.softmax(student_logits.float() / temperature, dim=-1)
    teacher = F.softmax(teacher_logits.detach().float() / temperature, dim=-1)
    return (1 - pearson_correlation(student.T, teacher.T)).mean() * temperature**2
