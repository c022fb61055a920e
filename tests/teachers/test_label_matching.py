import pytest
from conftest import tiny_bert

from hf_distill.errors import InputError
from hf_distill.teachers import label_names, match_labels


@pytest.mark.parametrize(
    ("student", "teacher", "expected"),
    [
        (["no", "yes"], ["no", "yes"], None),
        (["no", "yes"], ["yes", "no"], [1, 0]),
        (["Entailment", "neutral", "CONTRADICTION"], ["contradiction", "entailment", "Neutral "], [1, 2, 0]),
        (["LABEL_0", "LABEL_1"], ["yes", "no"], None),
        (["no", "yes"], ["LABEL_0", "LABEL_1"], None),
        (["label_0", "label_1"], ["LABEL_0", "LABEL_1"], None),
        (["score"], ["LABEL_0"], None),
    ],
)
def test_classes_are_matched_by_name(student, teacher, expected):
    assert match_labels(student, teacher) == expected


def test_the_indices_put_the_teachers_classes_in_the_students_order():
    student, teacher = ["b", "d", "a", "c"], ["A", "B", "C", "D"]
    assert [teacher[index].lower() for index in match_labels(student, teacher)] == student


@pytest.mark.parametrize(
    ("student", "teacher"),
    [
        (["no", "yes"], ["no", "maybe"]),
        (["no", "yes"], ["no", "yes", "maybe"]),
        (["LABEL_0", "LABEL_1"], ["LABEL_0", "LABEL_1", "LABEL_2"]),
        (["no", "yes"], ["no", "LABEL_1"]),
        (["yes", "YES"], ["yes", "YES"]),
    ],
)
def test_what_cannot_be_matched_is_refused_with_both_lists(student, teacher):
    with pytest.raises(InputError) as error:
        match_labels(student, teacher)
    assert str(student) in str(error.value)
    assert str(teacher) in str(error.value)


def test_names_are_read_in_the_order_of_the_logits():
    assert label_names(tiny_bert(3, layers=1)) == ["LABEL_0", "LABEL_1", "LABEL_2"]
    assert label_names(tiny_bert(2, layers=1, id2label={1: "yes", 0: "no"})) == ["no", "yes"]
    assert label_names(tiny_bert(2, layers=1, id2label={"1": "yes", "0": "no"})) == ["no", "yes"]
