"""Convolutional students, for teachers of another architecture altogether.

Importing this makes them known to transformers' auto classes and pipelines.
"""

from transformers import AutoConfig, AutoModelForImageClassification, AutoModelForSequenceClassification

from hf_distill.students.cnn.image_cnn_creation import create_image_cnn
from hf_distill.students.cnn.modeling_image_cnn import ImageCnnConfig, ImageCnnForImageClassification
from hf_distill.students.cnn.modeling_text_cnn import TextCnnConfig, TextCnnForSequenceClassification
from hf_distill.students.cnn.text_cnn_creation import create_text_cnn

AutoConfig.register(TextCnnConfig.model_type, TextCnnConfig, exist_ok=True)
AutoModelForSequenceClassification.register(TextCnnConfig, TextCnnForSequenceClassification, exist_ok=True)
AutoConfig.register(ImageCnnConfig.model_type, ImageCnnConfig, exist_ok=True)
AutoModelForImageClassification.register(ImageCnnConfig, ImageCnnForImageClassification, exist_ok=True)

__all__ = [
    "ImageCnnConfig",
    "ImageCnnForImageClassification",
    "TextCnnConfig",
    "TextCnnForSequenceClassification",
    "create_image_cnn",
    "create_text_cnn",
]
