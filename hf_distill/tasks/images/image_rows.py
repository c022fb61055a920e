"""What rows of images are: an ``image`` and a ``label``."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from datasets import Dataset, Image

_SEED = 0


def split_off(rows: Dataset, share: float) -> tuple[Dataset, Dataset]:
    """Hold a share of the rows back, the same share of every class and the same rows each time.

    Args:
        rows: With a column ``label`` of named classes.
        share: Between 0 and 1.

    Returns:
        The rows to learn from, and those held back.
    """
    parts = rows.train_test_split(test_size=share, stratify_by_column="label", seed=_SEED, load_from_cache_file=False)
    return parts["train"], parts["test"]


def image_fingerprint(splits: Iterable[Dataset]) -> str:
    """SHA-256, in hexadecimal, over the images' files and the labels in their order."""
    digest = hashlib.sha256()
    for rows in splits:
        for row in rows.cast_column("image", Image(decode=False)):
            content = row["image"]["bytes"] or Path(row["image"]["path"]).read_bytes()
            digest.update(f"{len(content)} {row['label']} ".encode())
            digest.update(content)
        digest.update(b"\n")
    return digest.hexdigest()
