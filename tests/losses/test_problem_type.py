import pytest
import torch
from conftest import tiny_bert
from transformers import BertForMaskedLM, BertForMultipleChoice, BertForTokenClassification, PreTrainedConfig
from transformers.modeling_utils import PreTrainedModel

from hf_distill.losses import ProblemType
from hf_distill.problem_type import infer_problem_type

CLASSES, SEVERAL, SCORES = torch.tensor([0, 2]), torch.eye(3)[:2], torch.tensor([0.5, 2.0])


@pytest.mark.parametrize(
    ("num_labels", "configured", "labels", "expected"),
    [
        (3, None, CLASSES, ProblemType.SINGLE_LABEL),
        (3, None, None, ProblemType.SINGLE_LABEL),
        (3, None, SEVERAL, ProblemType.MULTI_LABEL),
        (1, None, SCORES, ProblemType.REGRESSION),
        (1, None, None, ProblemType.REGRESSION),
        (1, None, CLASSES, ProblemType.REGRESSION),
        (3, "multi_label_classification", None, ProblemType.MULTI_LABEL),
        (3, "regression", SEVERAL, ProblemType.REGRESSION),
        (1, "multi_label_classification", SEVERAL[:, :1], ProblemType.MULTI_LABEL),
    ],
)
def test_sequence_classifiers_follow_transformers_rule(num_labels, configured, labels, expected):
    model = tiny_bert(num_labels, layers=1, problem_type=configured)
    assert infer_problem_type(model, labels) is expected
    assert model.config.problem_type == configured


@pytest.mark.parametrize("cls", [BertForTokenClassification, BertForMaskedLM, BertForMultipleChoice])
def test_other_heads_choose_between_classes_whatever_num_labels_says(cls):
    assert infer_problem_type(tiny_bert(1, layers=1, cls=cls), CLASSES) is ProblemType.SINGLE_LABEL


class Scorer(PreTrainedModel):
    """A class of one's own, whose name tells transformers nothing."""

    config_class = PreTrainedConfig


@pytest.mark.parametrize("model", [torch.nn.Linear(2, 2), Scorer(PreTrainedConfig())], ids=["module", "own class"])
def test_models_of_ones_own_are_judged_by_their_labels(model):
    assert infer_problem_type(model, CLASSES) is ProblemType.SINGLE_LABEL
    assert infer_problem_type(model, None) is ProblemType.SINGLE_LABEL
    assert infer_problem_type(model, SEVERAL) is ProblemType.MULTI_LABEL
    assert infer_problem_type(model, SCORES) is ProblemType.REGRESSION


def test_models_of_ones_own_may_say_what_they_are():
    model = Scorer(PreTrainedConfig(problem_type="regression"))
    assert infer_problem_type(model, None) is ProblemType.REGRESSION
    assert infer_problem_type(model, SEVERAL) is ProblemType.REGRESSION
