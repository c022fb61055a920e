import pytest
import torch
from augmentation.tiny_language import PAIRS, SENTENCES, VOCABULARY, WORDS, tiny_masked_model, tiny_tokenizer

from hf_distill.augmentation import Augmenter, MaskedWords, TokenVectors, WordProposals

TABLE = torch.randn(len(VOCABULARY), 6, generator=torch.Generator().manual_seed(0))


def proposals(count=4, masked=None):
    tokenizer = tiny_tokenizer()
    return WordProposals(tokenizer, TokenVectors(tokenizer, TABLE), count, 32, masked)


def made(augmenter, numbers=None):
    numbers = range(len(augmenter.rows)) if numbers is None else numbers
    return {number: [row for row in augmenter.of_rows([number])] for number in numbers}


def rows_of(texts):
    return [(text,) for text in texts]


def test_words_in_one_piece_ask_the_model_and_the_others_the_vectors():
    masked = MaskedWords(tiny_masked_model(), tiny_tokenizer())
    ((with_model,), (without,)) = (
        proposals(4, model).of_rows(["the actors was good"], None) for model in (masked, None)
    )
    both = {
        word.text: (set(others), set(dict((w.text, o) for w, o in without)[word.text])) for word, others in with_model
    }
    assert (
        both["actors"][0]
        == both["actors"][1]
        == set(TokenVectors(tiny_tokenizer(), TABLE).neighbours(["actors"], 4)["actors"])
    )
    assert any(one != other for one, other in both.values())


def test_with_certainty_every_word_becomes_one_of_its_candidates():
    augmenter = Augmenter(rows_of(SENTENCES), copies=30, probability=1.0, words=proposals())
    for number, text in enumerate(SENTENCES):
        (words,) = proposals().of_rows([text], None)
        rows = made(augmenter)[number]
        assert bool(rows) == bool(words)
        for (new,), source, kind in rows:
            assert (source, kind) == (number, "words")
            rest, position = new, 0
            for word, candidates in words:
                between = text[position : word.start]
                assert rest.startswith(between)
                rest, position = rest[len(between) :], word.end
                chosen = max((other for other in candidates if rest.startswith(other)), key=len)
                rest = rest[len(chosen) :]
            assert rest == text[position:]


def test_a_word_is_replaced_with_its_probability():
    text = " ".join(WORDS[:10])
    augmenter = Augmenter([(text,)], copies=600, probability=0.3, words=proposals(15))
    rows = made(augmenter)[0]
    changed = [sum(a != b for a, b in zip(new.split(), text.split(), strict=True)) for (new,), _, _ in rows]
    # Few of 600 copies are the source or doublets.
    assert len(rows) > 500
    assert sum(changed) / (10 * len(rows)) == pytest.approx(0.3, abs=0.03)


def test_candidates_are_drawn_alike():
    augmenter = Augmenter([("good film",)], copies=4000, probability=1.0, words=proposals(3))
    assert len(made(augmenter)[0]) == 9


def test_what_is_made_of_a_row_depends_on_the_row_alone():
    rows = rows_of(SENTENCES)
    augmenter = Augmenter(rows, 5, 0.4, words=proposals())
    together = list(augmenter.of_rows(range(len(rows))))
    alone = [row for number in range(len(rows)) for row in augmenter.of_rows([number])]
    assert together == alone
    backwards = Augmenter(rows[::-1], 5, 0.4, words=proposals())
    assert [texts for texts, _, _ in backwards.of_rows([4])] == [texts for texts, _, _ in augmenter.of_rows([0])]


def test_no_doublets_and_no_row_that_is_there_already():
    rows = rows_of(["good film", "bad film", "great film"])
    augmenter = Augmenter(rows, copies=500, probability=0.5, words=proposals(15))
    for number, made_rows in made(augmenter).items():
        texts = [texts for texts, _, _ in made_rows]
        assert len(texts) == len(set(texts))
        assert not set(texts) & set(rows), number


def test_of_a_pair_one_text_is_changed_at_a_time():
    augmenter = Augmenter(PAIRS, copies=20, probability=0.4, words=proposals())
    for number, rows in made(augmenter).items():
        changed = [tuple(a != b for a, b in zip(texts, PAIRS[number], strict=True)) for texts, _, _ in rows]
        assert set(changed) == {(True, False), (False, True)}


def test_texts_of_different_pairs_are_joined():
    rows = [(f"first {i}", f"second {i}") for i in range(30)] + [("first 0", "second 1")]
    augmenter = Augmenter(rows, copies=7, probability=0.4, joins_pairs=True)
    for number, joined in made(augmenter).items():
        assert len({texts for texts, _, _ in joined}) == len(joined)
        assert len(joined) == 7 and {kind for _, _, kind in joined} == {"pairs"}
        for texts, source, _ in joined:
            assert source == number and texts not in rows
            assert texts[0] == rows[number][0] and texts[1] in {second for _, second in rows}
    assert made(augmenter) != made(
        Augmenter([(first, second) for first, second in rows[1:]], 7, 0.4, joins_pairs=True)
    )


def test_two_pairs_have_no_more_partners_than_there_are():
    rows = [("a", "b"), ("c", "d")]
    augmenter = Augmenter(rows, copies=5, probability=0.4, joins_pairs=True)
    assert [texts for texts, _, _ in augmenter.of_rows([0, 1])] == [("a", "d"), ("c", "b")]
