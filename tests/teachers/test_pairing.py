import copy

import pytest
import torch
from conftest import VOCABULARY, tiny_bert
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from transformers import BertForMaskedLM, BertForTokenClassification, PreTrainedTokenizerFast

from hf_distill.errors import InputError
from hf_distill.teachers.pairing import check_pair, read_alike


def tiny_tokenizer(words):
    vocabulary = {word: index for index, word in enumerate(words)}
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel(vocabulary, unk_token=words[0])))


def words(count):
    return [f"word{index}" for index in range(count)]


@pytest.mark.parametrize("cls", [None, BertForTokenClassification])
def test_classes_in_another_order_are_remapped(cls):
    kind = {} if cls is None else {"cls": cls}
    student = tiny_bert(2, layers=1, id2label={0: "negative", 1: "positive"}, **kind)
    teacher = tiny_bert(2, layers=2, id2label={0: "POSITIVE", 1: "NEGATIVE"}, **kind)
    assert check_pair(student, teacher) == [1, 0]


def test_other_classes_are_refused():
    student = tiny_bert(2, layers=1, id2label={0: "negative", 1: "positive"})
    with pytest.raises(InputError, match=r"\['negative', 'positive'\].*\['ham', 'spam'\]"):
        check_pair(student, tiny_bert(2, id2label={0: "ham", 1: "spam"}))
    with pytest.raises(InputError, match=r"different number.*'LABEL_1'\], the teacher.*'LABEL_2'\]"):
        check_pair(tiny_bert(2, layers=1), tiny_bert(3))


def test_models_without_classes_are_not_asked_for_their_names():
    student = tiny_bert(2, layers=1, cls=BertForMaskedLM)
    assert check_pair(student, tiny_bert(3, cls=BertForMaskedLM)) is None
    assert check_pair(torch.nn.Linear(2, 2), tiny_bert(3)) is None


def test_widths_may_differ():
    assert check_pair(tiny_bert(layers=1, hidden_size=16), tiny_bert()) is None


def test_a_model_cannot_teach_itself():
    model = tiny_bert(layers=1)
    with pytest.raises(InputError, match="same object"):
        check_pair(model, model)
    assert check_pair(model, copy.deepcopy(model)) is None


def test_a_student_that_shares_weights_with_its_teacher_is_refused():
    student, teacher = tiny_bert(layers=1), tiny_bert()
    student.bert.embeddings = teacher.bert.embeddings
    with pytest.raises(InputError, match="bert.embeddings.word_embeddings.weight.*copy"):
        check_pair(student, teacher)


def test_a_tokenizer_with_ids_that_the_teacher_does_not_know_is_refused():
    student, teacher = tiny_bert(layers=1, vocab_size=VOCABULARY + 5), tiny_bert()
    assert check_pair(student, teacher, tiny_tokenizer(words(VOCABULARY))) is None
    with pytest.raises(InputError, match=f"{VOCABULARY + 4}.*{VOCABULARY} tokens.*vocabulary"):
        check_pair(student, teacher, tiny_tokenizer(words(VOCABULARY + 5)))


def test_tokenizers_are_compared_by_vocabulary_and_by_what_they_make_of_texts():
    texts = ["word1 word4", "word2"]
    assert read_alike(tiny_tokenizer(words(5)), tiny_tokenizer(words(5)), texts)
    assert not read_alike(tiny_tokenizer(words(5)), tiny_tokenizer(words(6)), texts)
    assert not read_alike(tiny_tokenizer(words(5)), tiny_tokenizer(words(5)[::-1]), texts)
    lower, cased = tiny_tokenizer(["unknown", "a"]), tiny_tokenizer(["unknown", "a"])
    lower.backend_tokenizer.normalizer = Lowercase()
    assert read_alike(lower, cased, ["a"], ["a"])
    assert not read_alike(lower, cased, ["a"], ["A"])
