"""The example of docs/transfer_sets.md is run, exactly as shown."""

import re
from pathlib import Path

from augmentation.tiny_language import tiny_masked_model, tiny_tokenizer

DOCUMENT = Path(__file__).parents[2] / "docs" / "transfer_sets.md"


def test_augmenting_from_python():
    (example,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), flags=re.DOTALL)
    names = {"tokenizer": tiny_tokenizer(), "teacher": tiny_masked_model()}
    exec(compile(example, "documentation", "exec"), names)
    assert (names["source"], names["kind"]) == (1, "words")
    assert names["text"] != "the plot is awful" and len(names["text"].split()) == 4
