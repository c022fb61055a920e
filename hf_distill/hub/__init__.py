"""The way to the Hugging Face Hub: a card that names the teacher, and the push."""

from hf_distill.hub.model_card import build_model_card
from hf_distill.hub.push import PushError, push_student

__all__ = ["PushError", "build_model_card", "push_student"]
