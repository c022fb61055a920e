"""Images to learn from and to compare on: MNIST, and folders and data sets of the Hub that hold images."""

from hf_distill.tasks.images.loading import IMAGE_TASK_NAMES, holds_images, load_image_task

__all__ = ["IMAGE_TASK_NAMES", "holds_images", "load_image_task"]
