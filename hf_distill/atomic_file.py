"""Files that appear whole or not at all."""

import os
from pathlib import Path


def unfinished(path: Path) -> Path:
    """Where a file lies while it is written; all that a killed process leaves of a new one."""
    return path.with_name(f".{path.name}.tmp")


def write_atomically(path: Path, text: str) -> None:
    """Write beside the file and move it there, so that a killed process leaves the old one or the new one."""
    unfinished(path).write_text(text, encoding="utf-8")
    os.replace(unfinished(path), path)
