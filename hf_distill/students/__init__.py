"""Students made of their teacher's weights: of its layers, its embeddings, or parts of both."""

from hf_distill.students.creation import create_student
from hf_distill.students.embedding_copy import copy_embeddings
from hf_distill.students.labels import reorder_labels
from hf_distill.students.layer_selection import select_layers
from hf_distill.students.narrowing import narrow

__all__ = ["copy_embeddings", "create_student", "narrow", "reorder_labels", "select_layers"]
