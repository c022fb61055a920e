"""Plain text in columns, for a terminal or a log."""

from __future__ import annotations

from collections.abc import Sequence

WIDTH = 100
"""Characters of a line that reads well everywhere."""


def table(rows: Sequence[Sequence[str]], right: Sequence[int] = (), indent: int = 2) -> list[str]:
    """Cells below one another, two blanks between columns.

    Args:
        rows: All of the same number of cells.
        right: The numbers of the columns that end, rather than begin, at the same place.
        indent: Blanks before each line.

    Returns:
        The lines.

    Example:
        >>> table([["layers", "12"], ["width", "768"]], right=[1], indent=0)
        ['layers   12', 'width   768']
    """
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if number in right else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(" " * indent + "  ".join(cells).rstrip())
    return lines


def shortened(number: float) -> str:
    """With three digits and thousands, millions and so on as k, M, G, T.

    Example:
        >>> shortened(66_362_880)
        '66.4 M'
    """
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= 0.9995 * size:
            return f"{_three_digits(number / size)} {unit}"
    return _three_digits(number)


def in_bytes(number: float | None) -> str:
    """As :func:`shortened`, in bytes; a question mark for what is unknown."""
    return "?" if number is None else f"{_with_unit(number)}B"


def _with_unit(number: float) -> str:
    short = shortened(number)
    return short if " " in short else f"{short} "


def _three_digits(number: float) -> str:
    if number == int(number) and number < 1000:
        return str(int(number))
    return f"{number:.0f}" if number >= 99.95 else f"{number:.1f}" if number >= 9.995 else f"{number:.2f}"
