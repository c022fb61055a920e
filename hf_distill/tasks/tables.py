"""CSV, TSV and JSONL files read row by row, so that a fault in one can be named by its line."""

from __future__ import annotations

import bz2
import csv
import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from hf_distill.errors import InputError

_COMPRESSED = (".gz", ".bz2")


def read_lines(path: Path, newline: str) -> Iterator[str]:
    r"""Read a UTF-8 text file, with or without a byte-order mark, plain or compressed with gzip or bzip2.

    Args:
        path: The file; ``.gz`` and ``.bz2`` are decompressed.
        newline: As for `open`. ``"\n"`` keeps a lone carriage return inside its line.

    Yields:
        Lines with their ends.

    Raises:
        InputError: If the file is missing, empty, unreadable or not text.
    """
    if not path.is_file():
        found = "is a folder" if path.is_dir() else "does not exist"
        raise InputError(f"{path} {found}, so no rows can be read from it; give the path of a file.")
    empty = True
    try:
        with _open(path, newline) as stream:
            for line in stream:
                if "\0" in line:
                    raise InputError(_not_text(path, "it holds NUL bytes"))
                empty = False
                yield line
    except UnicodeDecodeError as error:
        raise InputError(_not_text(path, f"byte 0x{error.object[error.start]:02x} is not UTF-8")) from None
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be read ({error}); check that it is complete and yours to read.") from error
    if empty:
        raise InputError(f"{path} is empty, so there are no rows to read; give a file that holds some.")


def _open(path: Path, newline: str) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline=newline)
    if path.suffix == ".bz2":
        return bz2.open(path, "rt", encoding="utf-8-sig", newline=newline)
    return path.open(encoding="utf-8-sig", newline=newline)


def _not_text(path: Path, reason: str) -> str:
    return f"{path} is not a text file ({reason}), so no rows can be read from it; give a text file in UTF-8."


def read_tab_separated(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Split each line that is not blank at its tabs; quotes are part of the text.

    Yields:
        The line's number, from 1, and its fields.
    """
    for number, line in enumerate(read_lines(path, newline="\n"), start=1):
        text = line.rstrip("\r\n")
        if text:
            yield number, text.split("\t")


def _read_tsv(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    lines = read_tab_separated(path)
    header = _header(path, lines)
    for number, fields in lines:
        yield number, _named(path, number, header, fields)


def _read_csv(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.reader(read_lines(path, newline=""), strict=True)
    lines = _csv_lines(path, reader)
    header = _header(path, lines)
    for number, fields in lines:
        yield number, _named(path, number, header, fields)


def _csv_lines(path: Path, reader: Any) -> Iterator[tuple[int, list[str]]]:
    while True:
        number = reader.line_num + 1
        try:
            fields = next(reader, None)
        except csv.Error as error:
            raise InputError(
                f"{path}, line {number}: the row that starts here is malformed ({error}); close every quote, and "
                "double the quotes inside a quoted field."
            ) from None
        if fields is None:
            return
        if fields:
            yield number, fields


def _header(path: Path, lines: Iterator[tuple[int, list[str]]]) -> list[str]:
    _, header = next(lines, (0, []))
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if twice:
        raise InputError(
            f"{path} has more than one column named {twice[0]!r}, so it is unclear which to read; rename one of them."
        )
    return header


def _named(path: Path, number: int, header: list[str], fields: list[str]) -> dict[str, Any]:
    if len(fields) != len(header):
        raise InputError(
            f"{path}, line {number}: found {len(fields)} fields where the header has {len(header)}, so they cannot be "
            "told apart; correct or remove the row."
        )
    return dict(zip(header, fields, strict=True))


def _read_jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(read_lines(path, newline="\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(
                f"{path}, line {number}: not valid JSON ({error.msg}); a JSONL file holds one object on each line."
            ) from None
        if not isinstance(row, dict):
            raise InputError(
                f"{path}, line {number}: found a JSON {type(row).__name__}, which has no columns; write one object, "
                'such as {"text": "...", "label": 1}, on each line.'
            )
        yield number, row


_READERS = {".csv": _read_csv, ".tsv": _read_tsv, ".jsonl": _read_jsonl}


def read_table(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Read a CSV file (quoted as usual), a TSV file (no quoting: quotes are text) or a JSONL file.

    Args:
        path: A file that ends in ``.csv``, ``.tsv`` or ``.jsonl``, and then perhaps in ``.gz`` or ``.bz2``.

    Yields:
        The number of the line, from 1, on which a row starts, and its values by column.

    Raises:
        InputError: If the file is missing, empty, not text, malformed (naming the line) or of another kind.
    """
    kind = Path(path.stem).suffix if path.suffix in _COMPRESSED else path.suffix
    if kind not in _READERS:
        raise InputError(
            f"{path} ends in {kind!r}, which is no kind of file that can be read here; give a .csv, .tsv or .jsonl "
            "file (also as .gz or .bz2)."
        )
    return _READERS[kind](path)


def read_text(path: Path, number: int, row: dict[str, Any], column: str) -> str:
    """The text that a row of a file has in a column.

    Args:
        path: The file, for messages.
        number: Of the line.
        row: Its values by column.
        column: Which of them.

    Raises:
        InputError: If there is none, or it is no text.
    """
    value = row.get(column)
    if value is None or value == "" or (isinstance(value, str) and not value.strip()):
        raise InputError(f"{path}, line {number}: {column!r} is empty, so there is no text; add it or remove the row.")
    if not isinstance(value, str):
        raise InputError(f"{path}, line {number}: {column!r} is {value!r}, which is no text; put it in quotes.")
    return value
