"""Students made of their teacher's weights, its layers, its embeddings or parts of both; or of convolutions."""

from hf_distill.students.cnn import create_image_cnn, create_text_cnn
from hf_distill.students.creation import create_student
from hf_distill.students.embedding_copy import copy_embeddings
from hf_distill.students.labels import reorder_labels
from hf_distill.students.layer_selection import select_layers
from hf_distill.students.narrowing import narrow

__all__ = [
    "copy_embeddings",
    "create_image_cnn",
    "create_student",
    "create_text_cnn",
    "narrow",
    "reorder_labels",
    "select_layers",
]
