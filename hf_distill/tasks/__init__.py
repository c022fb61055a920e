"""What is learnt: GLUE, data sets of the Hub, plain files, and Rotten Tomatoes reviews."""

from hf_distill.tasks.glue import GLUE_TASKS
from hf_distill.tasks.loading import TASK_NAMES, load_task
from hf_distill.tasks.scoring import compute_metrics, predicted_labels
from hf_distill.tasks.task import Task
from hf_distill.tasks.tokenization import tokenize

__all__ = ["GLUE_TASKS", "TASK_NAMES", "Task", "compute_metrics", "load_task", "predicted_labels", "tokenize"]
