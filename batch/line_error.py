"""One mistake in an input file: which line, and what is wrong with it."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class LineError:
    """A mistake with one of the codes of the documentation; `line` counts from 1.

    `line` is None for a mistake of the file as a whole. `param` is the field of the line that is
    wrong, as `body.model`.
    """

    code: str
    message: str
    line: int | None = None
    param: str | None = None

    def to_wire(self) -> dict[str, object]:
        """Return a JSON-ready dict, as OpenAI's `errors.data` has it."""
        return asdict(self)
