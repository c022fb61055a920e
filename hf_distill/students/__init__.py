"""Students made of some of their teacher's layers."""

from hf_distill.students.creation import create_student
from hf_distill.students.labels import reorder_labels
from hf_distill.students.layer_selection import select_layers

__all__ = ["create_student", "reorder_labels", "select_layers"]
