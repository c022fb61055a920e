"""The example of docs/check.md is run, exactly as shown."""

import re
from pathlib import Path

DOCUMENT = Path(__file__).parents[2] / "docs" / "check.md"


def test_the_example(new_trainer, capsys):
    (example,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), flags=re.DOTALL)
    names = {"trainer": new_trainer()}
    exec(compile(example, "docs/check.md", "exec"), names)
    printed = capsys.readouterr().out
    assert str(names["report"]) in printed and "One batch of 8 rows" in printed
