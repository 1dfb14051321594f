"""What the clients ask for, and the answers that the model gives: written once, read by each."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

PREDICT, PROBABILITIES, KSERVE_DEFAULT = "predict", "predict_proba", "output-0"


@dataclass(frozen=True)
class Case:
    """A classifier that is served, and rows with its answers."""

    url: str
    grpc_address: str
    vertex_route: str
    """Path of predictions in Vertex AI's contract."""
    vertex_health_route: str
    name: str
    version: str
    columns: list[str]
    optional: list[str]
    """Columns that may be left out."""
    numeric: bool
    """Whether every column is a number, so that all of them fit one tensor."""
    rows: list[dict[str, Any]]
    """In the order of the columns; a gap is None."""
    labels: list[Any]
    """The class of each row."""
    probabilities: list[list[float]]
    """Of each row, in the order of the classes."""

    @classmethod
    def read(cls, path: Path) -> Self:
        """A case that `write` has written."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))

    def write(self, path: Path) -> None:
        """Write it for processes of other environments."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")

    @property
    def matrix(self) -> list[list[Any]]:
        """The rows as arrays."""
        return [list(row.values()) for row in self.rows]

    def column(self, name: str) -> list[Any]:
        """One column."""
        return [row[name] for row in self.rows]

    def column_type(self, name: str) -> type:
        """What its values are; whole numbers among others are floats."""
        found = {type(value) for value in self.column(name)} - {type(None)}
        return float if found == {int, float} else found.pop()

    @property
    def answers(self) -> list[Any]:
        """Labels, and probabilities."""
        return [self.labels, self.probabilities]

    def only(self, *places: int) -> "Case":
        """Some of the rows."""
        kept = {
            field: [getattr(self, field)[place] for place in places]
            for field in ("rows", "labels", "probabilities")
        }
        return Case(**{**asdict(self), **kept})

    def one_gap(self) -> "Case":
        """The first row of which a value is missing, without its column; no row if all are full."""
        for place, row in enumerate(self.rows):
            given = [name for name, value in row.items() if value is not None]
            if len(given) < len(row):
                found = self.only(place)
                rows = [{name: row[name] for name in given}]
                return Case(**{**asdict(found), "columns": given, "rows": rows})
        return self.only()

    def without_gaps(self) -> "Case":
        """Only the rows of which every value is given, for clients that can write no gap."""
        full = [place for place, row in enumerate(self.rows) if None not in row.values()]
        return self.only(*full)
