import math

import pytest
import torch
from augmentation.tiny_language import VOCABULARY, WORDS, tiny_tokenizer

from hf_distill.augmentation import TokenVectors, WordVectors, read_word_vectors
from hf_distill.errors import InputError


def cosine(one, other):
    dot = sum(a * b for a, b in zip(one, other, strict=True))
    return dot / math.sqrt(sum(a * a for a in one) * sum(b * b for b in other))


def nearest(query, candidates, count):
    return sorted(candidates, key=lambda word: -cosine(query, candidates[word]))[:count]


@pytest.fixture
def table():
    return torch.randn(len(VOCABULARY), 6, generator=torch.Generator().manual_seed(0))


def test_neighbours_of_tokens_by_brute_force(table):
    vectors = TokenVectors(tiny_tokenizer(), table)
    rows = dict(zip(VOCABULARY, table.tolist(), strict=True))
    pieces = {"film": ["film"], "Good": ["good"], "actors": ["actor", "##s"], "watchable": ["watch", "##able"]}
    found = vectors.neighbours(list(pieces), 5)
    for word, parts in pieces.items():
        query = [sum(values) / len(parts) for values in zip(*(rows[part] for part in parts), strict=True)]
        candidates = {other: rows[other] for other in WORDS if other != word.lower()}
        assert found[word] == nearest(query, candidates, 5)


def test_one_word_is_not_its_own_neighbour_in_any_case():
    vectors = WordVectors(["film", "Film", "FILM", "plot", "scene"], torch.randn(5, 4))
    assert set(vectors.neighbours(["film"], 5)["film"]) == {"plot", "scene"}
    assert len(vectors.neighbours(["film"], 1)["film"]) == 1


def test_more_queries_than_are_looked_up_at_once(table):
    words = [f"w{'abcdefghij'[i // 100]}{'abcdefghij'[i // 10 % 10]}{'abcdefghij'[i % 10]}" for i in range(600)]
    values = torch.randn(600, 4, generator=torch.Generator().manual_seed(1))
    found = WordVectors(words, values).neighbours(words, 3)
    candidates = dict(zip(words, values.tolist(), strict=True))
    for word in (words[0], words[300], words[599]):
        others = {other: vector for other, vector in candidates.items() if other != word}
        assert found[word] == nearest(candidates[word], others, 3)


def test_a_file_of_vectors(tmp_path):
    path = tmp_path / "vectors.txt"
    path.write_text("good 1.0 0.0\ngreat 0.9 0.1\nbad -1.0 0.2\n. 1 0\nat home 1 0\nplot 0 1\n")
    vectors = read_word_vectors(path)
    assert vectors.words == ["good", "great", "bad", "plot"]
    assert vectors.neighbours(["good", "Great", "actor"], 2) == {
        "good": ["great", "plot"],
        "Great": ["good", "plot"],
        "actor": [],
    }
    assert vectors.fingerprint == read_word_vectors(path).fingerprint
    path.write_text(path.read_text().replace("0.9", "0.8"))
    assert vectors.fingerprint != read_word_vectors(path).fingerprint


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("good 1.0 0.0\nbad 1.0\n", "line 2: found no word with 2 numbers"),
        ("good 1.0 0.0\nbad one two\n", "line 2"),
        ("good 1.0 nan\n", "line 1"),
        ("good\n", "line 1"),
        ("1 2 3\n", "no word of letters"),
        ("", "is empty"),
    ],
)
def test_files_that_hold_no_vectors(content, message, tmp_path):
    (tmp_path / "vectors.txt").write_text(content)
    with pytest.raises(InputError, match=message) as error:
        read_word_vectors(tmp_path / "vectors.txt")
    assert "\n" not in str(error.value)


def test_a_fingerprint_tells_tables_apart(table):
    one, other = (TokenVectors(tiny_tokenizer(), values).fingerprint for values in (table, table + 1))
    assert one == TokenVectors(tiny_tokenizer(), table.clone()).fingerprint != other
