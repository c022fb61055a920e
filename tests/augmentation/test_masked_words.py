import pytest
import torch
from augmentation.tiny_language import PAIRS, PIECES, SENTENCES, VOCABULARY, WORDS, tiny_masked_model, tiny_tokenizer
from transformers import BertTokenizer

from hf_distill.augmentation import MaskedWords, WordProposals, WordVectors
from hf_distill.augmentation.words import find_words, whole_words
from hf_distill.errors import InputError


@pytest.fixture(scope="module")
def model():
    return tiny_masked_model()


NO_VECTORS = WordVectors(["good", "bad"], torch.eye(2))


def proposals(model, rows, count, batch_size=None, max_length=32):
    tokenizer = tiny_tokenizer()
    masked = MaskedWords(model, tokenizer, batch_size)
    texts, pairs = [row[0] for row in rows], [row[1] for row in rows] if len(rows[0]) > 1 else None
    found = WordProposals(tokenizer, NO_VECTORS, count, max_length, masked).of_rows(texts, pairs)
    return [{(word.side, word.start, word.text): set(others) for word, others in row} for row in found]


def naive(model, row, count):
    """Word by word, token by token, one forward for each, without padding."""
    tokenizer, expected = tiny_tokenizer(), {}
    tokens, types = [2], [0]
    places = []
    for side, text in enumerate(row):
        for start, word in spans(text):
            pieces = tokenizer.convert_tokens_to_ids(tokenizer.tokenize(word))
            if len(pieces) == 1 and word.isalpha():
                places.append((side, start, word, len(tokens)))
            tokens, types = tokens + pieces, types + [side] * len(pieces)
        tokens, types = tokens + [3], types + [side]
    for side, start, word, position in places:
        masked = [4 if place == position else token for place, token in enumerate(tokens)]
        with torch.no_grad():
            logits = model(torch.tensor([masked]), token_type_ids=torch.tensor([types])).logits[0, position]
        likely = sorted(range(len(VOCABULARY)), key=lambda token: -logits[token].item())
        whole = [VOCABULARY[token] for token in likely if VOCABULARY[token] in WORDS]
        expected[side, start, word] = set([other for other in whole if other != word.lower()][:count])
    return expected


def spans(text):
    """Runs of letters and digits, and single other characters, each with its place."""
    start, found = 0, []
    while start < len(text):
        end = start + 1
        while text[start].isalnum() and end < len(text) and text[end].isalnum():
            end += 1
        if text[start] != " ":
            found.append((start, text[start:end]))
        start = end
    return found


@pytest.mark.parametrize("rows", [[(text,) for text in SENTENCES], PAIRS], ids=["texts", "pairs"])
@pytest.mark.parametrize("count", [1, 4, 99])
def test_the_likeliest_whole_words_are_proposed(model, rows, count):
    for row, found in zip(rows, proposals(model, rows, count), strict=True):
        assert found == naive(model, row, count)


def test_neither_batch_size_nor_company_decides(model):
    rows = [(text,) for text in SENTENCES]
    alone = [proposals(model, [row], 4, batch_size=1)[0] for row in rows]
    for batch_size in (1, 3, 64):
        assert proposals(model, rows, 4, batch_size) == alone
    assert proposals(model, rows[::-1], 4) == alone[::-1]


def test_training_mode_is_left_as_it_was_and_draws_nothing(model):
    expected = proposals(model, [(SENTENCES[0],)], 3)
    model.train()
    try:
        assert proposals(model, [(SENTENCES[0],)], 3) == expected
        assert model.training
    finally:
        model.eval()


def test_words_behind_the_limit_are_left_alone(model):
    (found,) = proposals(model, [("the film was good",)], 2, max_length=4)
    assert {word for _, _, word in found} == {"the", "film"}


def test_whole_words_are_letters_and_one_token():
    assert list(whole_words(tiny_tokenizer(), len(VOCABULARY)).values()) == WORDS
    assert list(whole_words(tiny_tokenizer(), 7).values()) == WORDS[:2]


def test_a_word_in_pieces_is_one_word():
    text = "actors watchable, 7s"
    _, (words,) = find_words(tiny_tokenizer(), [text], None, 32)
    assert [(word.text, len(word.positions)) for word in words] == [("actors", 2), ("watchable", 2)]
    assert [text[word.start : word.end] for word in words] == ["actors", "watchable"]


def test_a_tokenizer_without_a_mask_or_words_is_refused(model):
    tokenizer = tiny_tokenizer()
    tokenizer.mask_token = None
    with pytest.raises(InputError, match="no mask token"):
        MaskedWords(model, tokenizer)
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *PIECES]
    with pytest.raises(InputError, match="whole word"):
        MaskedWords(model, BertTokenizer(vocab={word: number for number, word in enumerate(pieces)}))
