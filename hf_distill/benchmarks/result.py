"""What a benchmark found, as a table to read and as JSON to go on with."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from hf_distill.benchmarks.ratios import Quartiles
from hf_distill.evaluation import environment

UNKNOWN = "–"

Cell = str | int | float | Quartiles | None


@dataclasses.dataclass(frozen=True)
class BenchmarkResult:
    """A table of figures.

    Attributes:
        name: Of the benchmark.
        columns: From a column's key, which the rows use, to its heading.
        rows: One mapping for each line; a key that is missing is unknown.
        settings: What was measured.
        environment: Where.
    """

    name: str
    columns: dict[str, str]
    rows: list[dict[str, Cell]]
    settings: dict[str, Any]
    environment: dict[str, Any] = dataclasses.field(default_factory=environment)

    def to_markdown(self) -> str:
        """The table, and settings and environment in a line below."""
        lines = [list(self.columns.values()), ["---"] * len(self.columns)]
        lines += [[_text(row.get(key)) for key in self.columns] for row in self.rows]
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        return f"{table}\n\n`{self.name}`: {_listed(self.settings)}.\nMeasured with {_listed(self.environment)}."

    def to_json(self) -> str:
        """Everything, quartiles as objects."""
        return json.dumps(dataclasses.asdict(self), indent=2)

    def to_text(self, as_json: bool) -> str:
        """One of the two."""
        return self.to_json() if as_json else self.to_markdown()


def _text(cell: Cell) -> str:
    if cell is None:
        return UNKNOWN
    if isinstance(cell, float):
        return f"{cell:,.2f}" if abs(cell) < 10 else f"{cell:,.0f}" if abs(cell) >= 1000 else f"{cell:,.1f}"
    return f"{cell:,}" if isinstance(cell, int) else str(cell)


def _listed(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {_plain(value)}" for name, value in values.items())


def _plain(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
