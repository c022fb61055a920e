import json

import pytest
import torch
from augmentation.tiny_language import PAIRS, SENTENCES, VOCABULARY, tiny_tokenizer

from hf_distill.augmentation import AugmentedRows, Augmenter, TokenVectors, WordProposals, make_or_read

TABLE = torch.randn(len(VOCABULARY), 6, generator=torch.Generator().manual_seed(0))
ROWS = [(text,) for text in SENTENCES]


def augmenter(rows=ROWS, table=TABLE, count=4, **options):
    tokenizer = tiny_tokenizer()
    words = WordProposals(tokenizer, TokenVectors(tokenizer, table), count, 32)
    return Augmenter(rows, **{"copies": 5, "probability": 0.4, "words": words, **options})


def make(folder, rows_at_once=64, **options):
    is_pairs = len(options.get("rows", ROWS)[0]) > 1
    return make_or_read(lambda: augmenter(**options), folder, is_pairs, rows_at_once)


def files(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def test_rows_are_made_once(tmp_path):
    first = make(tmp_path / "rows")
    written = files(tmp_path / "rows")
    assert len(written) == 1 and len(first) > 0
    assert make(tmp_path / "rows") == first
    assert files(tmp_path / "rows") == written


def test_how_many_are_made_at_once_does_not_matter(tmp_path):
    assert len({json.dumps(vars(make(tmp_path / str(size), size))) for size in (1, 2, 64)}) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"rows": ROWS[:3]},
        {"rows": ROWS[::-1]},
        {"copies": 6},
        {"probability": 0.5},
        {"count": 3},
        {"table": TABLE + 1},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_is_made_otherwise_is_not_read(change, tmp_path):
    make(tmp_path)
    make(tmp_path, **change)
    assert len(files(tmp_path)) == 2


@pytest.mark.parametrize("damage", [lambda content: content[:-7], lambda content: content.replace(b"film", b"plot")])
def test_a_torn_file_is_made_again(damage, tmp_path, caplog):
    whole = make(tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_bytes(damage(path.read_bytes()))
    assert make(tmp_path) == whole
    assert list(tmp_path.iterdir()) == [path]
    assert AugmentedRows.load(tmp_path, path.stem.rpartition("-")[0], has_pairs=False) == whole


def test_what_a_killed_process_left_is_no_hindrance(tmp_path):
    whole = make(tmp_path / "one")
    (path,) = (tmp_path / "one").iterdir()
    other = tmp_path / "other"
    other.mkdir()
    (other / ".unfinished-1-00").write_bytes(path.read_bytes()[:20])
    assert make(other) == whole


def test_pairs_and_odd_characters_survive(tmp_path):
    rows = AugmentedRows(True)
    rows.add(("one\u2028line \U0001f600", 'two\n"lines"'), 3, "pairs")
    rows.save(tmp_path, "key")
    assert AugmentedRows.load(tmp_path, "key", True) == rows
    assert rows.to_dataset()[:] == {"text": rows.texts, "text_pair": rows.pairs}
    assert set(make(tmp_path, rows=PAIRS, joins_pairs=True).kinds) == {"words", "pairs"}


def test_equal_rows_are_looked_at_once(tmp_path):
    assert make(tmp_path / "one", rows=[ROWS[0], ROWS[0]]).texts == make(tmp_path / "two", rows=ROWS[:1]).texts


def test_augmented_rows_carry_no_label(tmp_path):
    assert make(tmp_path).to_dataset().column_names == ["text"]
