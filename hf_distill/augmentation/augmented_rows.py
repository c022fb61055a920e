"""Rows that were made from others, and the file that keeps them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from datasets import Dataset, Features, Value
from transformers.utils import logging

from hf_distill.teachers.cache.sealed_file import DamagedFile, read_sealed, write_sealed

logger = logging.get_logger(__name__)

_SUFFIX = ".jsonl"


@dataclass
class AugmentedRows:
    """Texts without labels, each with the row that it was made from.

    Attributes:
        has_pairs: Whether each row has two texts.
        texts: One for each row.
        pairs: The second texts; empty without pairs.
        sources: The numbers of the rows that they were made from; that of the first text where two were joined.
        kinds: How each was made: ``"words"`` or ``"pairs"``.
    """

    has_pairs: bool
    texts: list[str] = field(default_factory=list)
    pairs: list[str] = field(default_factory=list)
    sources: list[int] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.texts)

    def add(self, texts: tuple[str, ...], source: int, kind: str) -> None:
        """Add a row of one text or two."""
        self.texts.append(texts[0])
        self.pairs.extend(texts[1:])
        self.sources.append(source)
        self.kinds.append(kind)

    def to_dataset(self) -> Dataset:
        """The texts alone, in the columns of a task."""
        columns = {"text": self.texts, "text_pair": self.pairs} if self.has_pairs else {"text": self.texts}
        return Dataset.from_dict(columns, features=Features({name: Value("string") for name in columns}))

    def save(self, folder: Path, key: str) -> None:
        """Write them to a file of their own, which appears whole or not at all."""
        folder.mkdir(parents=True, exist_ok=True)
        columns: list[list[str]] = [self.texts, self.pairs] if self.has_pairs else [self.texts]
        rows = zip(zip(*columns, strict=True), self.sources, self.kinds, strict=True)
        lines = (json.dumps(row) + "\n" for row in rows)
        write_sealed(folder, key, _SUFFIX, "".join(lines).encode())

    @classmethod
    def load(cls, folder: Path, key: str, has_pairs: bool) -> AugmentedRows | None:
        """What :meth:`save` wrote under a key; None if there is no such file, or it is damaged and was removed."""
        for path in sorted(folder.glob(f"{key}-*{_SUFFIX}")):
            try:
                content = read_sealed(path)
            except DamagedFile:
                logger.warning(f"{str(path)!r} is damaged: its rows are made again.")
                path.unlink()
                continue
            rows = cls(has_pairs)
            for line in content.decode().splitlines():
                texts, source, kind = json.loads(line)
                rows.add(tuple(texts), source, kind)
            return rows
        return None
