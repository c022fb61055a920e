"""The usual ``Trainer`` subclass of blog posts and forum answers, as the thing to compare with."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import Trainer


class BlogTrainer(Trainer):
    """Distillation by overriding ``compute_loss``, corrected only so far that it runs with transformers 5.

    It has what its kind has: the teacher is given the labels and computes its own loss too, and its weights stay in
    fp32 under mixed precision.

    Args:
        teacher_model: The teacher.
        temperature: Of the soft targets.
        alpha: The weight of the student's own loss; the rest of 1 goes to the soft targets.
        **kwargs: As for ``transformers.Trainer``.
    """

    def __init__(self, teacher_model: nn.Module, temperature: float, alpha: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.teacher = teacher_model.to(self.args.device).eval()
        self.temperature = temperature
        self.alpha = alpha

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Tensor | tuple[Tensor, Any]:
        """``alpha`` · student's loss + ``(1 - alpha)`` · T² · KL."""
        student_outputs = model(**inputs)
        with torch.no_grad():
            teacher_outputs = self.teacher(**inputs)
        soft_loss = nn.KLDivLoss(reduction="batchmean")(
            F.log_softmax(student_outputs.logits / self.temperature, dim=-1),
            F.softmax(teacher_outputs.logits / self.temperature, dim=-1),
        )
        loss = self.alpha * student_outputs.loss + (1 - self.alpha) * self.temperature**2 * soft_loss
        return (loss, student_outputs) if return_outputs else loss
