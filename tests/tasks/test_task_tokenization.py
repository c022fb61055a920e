import pytest
from datasets import Dataset, Features, Sequence, Value
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from hf_distill.tasks import tokenize

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "b", "c", "d", "e"]


@pytest.fixture
def tokenizer():
    backend = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=10,
    )


def rows(texts, pairs=None, labels=None, label=None):
    columns = {"text": texts, "label": labels or [0] * len(texts)}
    if pairs is not None:
        columns["text_pair"] = pairs
    features = Features(
        {name: Value("string") for name in columns if name != "label"} | {"label": label or Value("int64")}
    )
    return Dataset.from_dict({name: columns[name] for name in features}, features=features)


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


def test_texts_become_unpadded_tokens(tokenizer, caplog):
    encoded = tokenize(rows(["a", "b c d", "a z"], labels=[1, 0, 1]), tokenizer, 8, with_token_type_ids=False)

    assert encoded[:] == {
        "labels": [1, 0, 1],
        "input_ids": [[2, 4, 3], [2, 5, 6, 7, 3], [2, 4, 1, 3]],
        "attention_mask": [[1] * 3, [1] * 5, [1] * 4],
    }
    assert not warnings(caplog)


def test_pairs_have_token_types_where_they_are_asked_for(tokenizer):
    encoded = tokenize(rows(["a b"], ["c"]), tokenizer, 8, with_token_type_ids=True)

    assert encoded[0]["input_ids"] == [2, 4, 5, 3, 6, 3]
    assert encoded[0]["token_type_ids"] == [0, 0, 0, 0, 1, 1]
    assert "token_type_ids" not in tokenize(rows(["a"], ["b"]), tokenizer, 8, False).column_names


def test_long_texts_are_cut_and_counted_in_one_warning(tokenizer, caplog):
    texts = ["a b c", "a b c d", "a", "a b c d e a b c d e a b"] * 600

    encoded = tokenize(rows(texts), tokenizer, 5, with_token_type_ids=False)

    assert max(map(len, encoded["input_ids"])) == 5
    assert encoded[1]["input_ids"] == [2, 4, 5, 6, 3]
    assert warnings(caplog) == [
        "1200 of 2400 texts are longer than 5 tokens and were cut; raise max_seq_length to keep more of them."
    ]


def test_long_pairs_are_counted_once(tokenizer, caplog):
    encoded = tokenize(rows(["a b c", "a"], ["a b c d", "b"]), tokenizer, 6, with_token_type_ids=True)

    assert [len(tokens) for tokens in encoded["input_ids"]] == [6, 5]
    assert warnings(caplog)[0].startswith("1 of 2 texts")


def test_no_more_tokens_than_the_tokenizer_allows(tokenizer, caplog):
    encoded = tokenize(rows(["a " * 20]), tokenizer, 64, with_token_type_ids=False)

    assert len(encoded[0]["input_ids"]) == 10
    assert "the tokenizer allows 10 tokens" in warnings(caplog)[0]


@pytest.mark.parametrize(
    ("labels", "feature"), [([0.5, 4.75], Value("float32")), ([[1.0, 0.0], [0.0, 0.0]], Sequence(Value("float32")))]
)
def test_scores_and_vectors_stay_floats(tokenizer, labels, feature):
    encoded = tokenize(rows(["a", "b"], labels=labels, label=feature), tokenizer, 8, with_token_type_ids=False)

    assert encoded["labels"][:] == labels
    assert encoded.features["labels"] == feature


def test_nothing_is_kept_on_disk(tokenizer):
    assert tokenize(rows(["a", "b"]), tokenizer, 8, with_token_type_ids=False).cache_files == []
