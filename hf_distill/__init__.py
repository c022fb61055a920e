"""Distil Hugging Face transformers into smaller, faster students."""
