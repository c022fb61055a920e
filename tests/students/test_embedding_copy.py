"""Embeddings copied by token, against loops over both vocabularies and scikit-learn's SVD."""

import copy

import pytest
import torch
from sklearn.decomposition import TruncatedSVD
from transformers import BertConfig, BertForMaskedLM, BertTokenizer, ViTConfig, ViTModel

from hf_distill.errors import InputError
from hf_distill.students import copy_embeddings

OWN = ["[PAD]", "[UNK]", "film", "good", "plot", "new"]
TAUGHT = ["[UNK]", "bad", "plot", "[PAD]", "good", "scene", "film"]
SHARED = ["[PAD]", "[UNK]", "film", "good", "plot"]


def tokenizer(words):
    return BertTokenizer(vocab={word: index for index, word in enumerate(words)})


def own_ids(words):
    return tokenizer(words).get_vocab()


def model(width, words, seed):
    torch.manual_seed(seed)
    sizes = {"hidden_size": width, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 37}
    return BertForMaskedLM(BertConfig(vocab_size=len(words) + 5, **sizes, initializer_range=0.5))


def embeddings(of):
    return of.bert.embeddings.word_embeddings.weight


def test_tokens_that_both_know_are_copied_and_others_are_not():
    teacher, student = model(32, TAUGHT, 0), model(32, OWN, 1)
    before, of_teacher = embeddings(student).clone(), embeddings(teacher).clone()
    other_weights = copy.deepcopy({name: p for name, p in student.named_parameters() if "word_emb" not in name})
    copied = copy_embeddings(student, teacher, tokenizer(OWN), tokenizer(TAUGHT))
    own, taught = own_ids(OWN), own_ids(TAUGHT)
    both = [token for token in own if token in taught]
    assert copied == len(both) >= len(SHARED)
    for token, index in own.items():
        expected = of_teacher[taught[token]] if token in taught else before[index]
        assert embeddings(student)[index].equal(expected), token
    assert embeddings(student)[len(own) :].equal(before[len(own) :])
    assert embeddings(teacher).equal(of_teacher)
    assert all(student.get_parameter(name).equal(values) for name, values in other_weights.items())
    assert student.cls.predictions.decoder.weight is embeddings(student)
    assert embeddings(student).requires_grad


def test_a_narrower_student_gets_the_best_coordinates():
    teacher, student = model(32, TAUGHT, 0), model(4, OWN, 1)
    copy_embeddings(student, teacher, tokenizer(OWN), tokenizer(TAUGHT))
    own, taught = own_ids(OWN), own_ids(TAUGHT)
    both = [token for token in own if token in taught]
    vectors = embeddings(teacher)[[taught[token] for token in both]].detach().double().numpy()
    expected = TruncatedSVD(4, algorithm="arpack").fit_transform(vectors)
    found = embeddings(student)[[own[token] for token in both]].detach().double()
    # The sign of a singular vector is free.
    torch.testing.assert_close(found @ found.T, torch.tensor(expected @ expected.T), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.abs(), torch.tensor(abs(expected)), rtol=1e-3, atol=1e-3)


def test_what_cannot_be_copied_is_refused():
    teacher = model(32, TAUGHT, 0)
    with pytest.raises(InputError, match="student's embeddings are 64 wide and the teacher's 32"):
        copy_embeddings(model(64, OWN, 1), teacher, tokenizer(OWN), tokenizer(TAUGHT))
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 37}
    with pytest.raises(InputError, match="ViTModel has no table of token embeddings"):
        copy_embeddings(ViTModel(ViTConfig(**sizes)), teacher, tokenizer(OWN), tokenizer(TAUGHT))


class NoWords(BertTokenizer):
    def get_vocab(self):
        return {"elsewhere": 0}


def test_vocabularies_without_a_common_token_are_refused():
    strange = NoWords(vocab={word: index for index, word in enumerate(OWN)})
    with pytest.raises(InputError, match="share no token"):
        copy_embeddings(model(32, OWN, 1), model(32, TAUGHT, 0), strange, tokenizer(TAUGHT))
