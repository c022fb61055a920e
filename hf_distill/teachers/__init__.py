"""The teacher: frozen, in evaluation mode, its classes in the student's order."""

from hf_distill.teachers.label_matching import label_names, match_labels
from hf_distill.teachers.live_teacher import LiveTeacher

__all__ = ["LiveTeacher", "label_names", "match_labels"]
