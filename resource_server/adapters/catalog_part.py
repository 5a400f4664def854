"""What all parts of the catalog's documents have in common."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

#: Fields of documents that are sets.
_SETS = frozenset({"flags", "modalities", "models"})


class Spec(BaseModel):
    """A part of a document: a field that is not known is a mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def to_row(self) -> dict[str, Any]:
        """Return the JSON of a catalog row, the same for equal documents."""
        row: dict[str, Any] = self.model_dump(mode="json")
        for name in _SETS & row.keys():
            row[name] = sorted(row[name])  # A set has no order of its own.
        return row
