"""Whatever stands behind the seam, a teacher serves several trainers at once."""

import pytest
import torch
from conftest import PaddingCollator, random_rows, tiny_bert

from hf_distill import CachedTeacher, DistillationTrainer, TeacherEnsemble, cache_teacher_outputs

NAMES = {0: "a", 1: "b", 2: "c"}
REVERSED = {0: "c", 1: "b", 2: "a"}


@pytest.fixture
def rows():
    return random_rows(8)


@pytest.fixture
def model():
    return tiny_bert(id2label=NAMES)


@pytest.fixture(params=["cached", "ensemble of cached", "ensemble of models"])
def teacher(request, rows, model, tmp_path):
    if request.param == "ensemble of models":
        return TeacherEnsemble([model, model])
    cache_teacher_outputs(model, rows, tmp_path / "cache", PaddingCollator())
    cached = CachedTeacher(tmp_path / "cache")
    return cached if request.param == "cached" else TeacherEnsemble([cached, CachedTeacher(tmp_path / "cache")])


def test_a_second_student_with_other_class_numbers_changes_nothing_for_the_first(teacher, rows, model, make_arguments):
    def trainer(names):
        student = tiny_bert(layers=1, id2label=names)
        return DistillationTrainer(
            student, teacher, make_arguments(), train_dataset=rows, data_collator=PaddingCollator()
        )

    first, second = trainer(NAMES), trainer(REVERSED)
    for its_trainer, order in ((first, [0, 1, 2]), (second, [2, 1, 0])):
        batch = its_trainer.teacher.collator(PaddingCollator())(list(rows))
        signals = its_trainer.teacher(batch)
        answers = signals.mixed.logits if signals.mixed is not None else [signals.logits]
        inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids") if name in batch}
        with torch.no_grad():
            expected = model(**inputs).logits[:, order]
        for logits in answers:
            torch.testing.assert_close(logits, expected, rtol=0, atol=1e-5)
