"""Which layer of the student learns from which layer of its teacher, drawn in text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hf_distill.checking.table import WIDTH

_NOTHING = "."


def draw_layers(
    teacher_layers: int, made_of: Sequence[int], mappings: Mapping[str, Sequence[tuple[int, int]]]
) -> list[str]:
    r"""The teacher's layers in a row, and below each the layers of the student that have to do with it.

    Args:
        teacher_layers: How many there are; layer 0, the output of the embeddings, is drawn before them.
        made_of: For each layer of the student, the teacher's layer that it started as, counted from 1; may be empty.
        mappings: By the name of a term, the pairs of layers that it compares, student first.

    Returns:
        The lines; deep teachers are drawn in several parts.

    Example:
        >>> print("\n".join(draw_layers(4, [1, 3], {"hidden_state_loss": [(0, 0), (1, 2), (2, 4)]})))
        teacher's layer      0  1  2  3  4
        student starts from  .  1  .  2  .
        hidden_state_loss    0  .  1  .  2
    """
    rows = {"teacher's layer": [[str(layer)] for layer in range(teacher_layers + 1)]}
    if made_of:
        rows["student starts from"] = _fed(teacher_layers, [(own, layer) for own, layer in enumerate(made_of, 1)])
    rows |= {name: _fed(teacher_layers, pairs) for name, pairs in mappings.items()}
    cells = {name: [",".join(layers) or _NOTHING for layers in row] for name, row in rows.items()}
    label = max(len(name) for name in cells)
    width = max(len(cell) for row in cells.values() for cell in row)
    in_line = max((WIDTH - 2 - label) // (width + 2), 1)
    lines: list[str] = []
    for begin in range(0, teacher_layers + 1, in_line):
        if lines:
            lines.append("")
        for name, row in cells.items():
            shown = "".join(f"  {cell:>{width}}" for cell in row[begin : begin + in_line])
            lines.append(f"{name:<{label}}{shown}")
    return lines


def _fed(teacher_layers: int, pairs: Sequence[tuple[int, int]]) -> list[list[str]]:
    """For each of the teacher's layers, the student's."""
    return [
        [str(own) for own in sorted({student for student, teacher in pairs if teacher == layer})]
        for layer in range(teacher_layers + 1)
    ]
