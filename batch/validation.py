"""The whole input file checked, before the first request is sent."""

from __future__ import annotations

from dataclasses import dataclass

from batch.errors import InputRefused
from batch.examination import Examination
from batch.input_file import InputFile
from batch.line_error import LineError
from batch.line_index import LineIndex
from batch.rules import Rules


@dataclass(frozen=True, slots=True, kw_only=True)
class Validated:
    """What was found in a file. Without errors, everything; with errors, what was seen of it.

    `total` counts lines, `inputs` embedding inputs. `errors` are the first mistakes of
    `error_count`. `sha256` is that of all bytes, or empty if not all were read.
    """

    total: int = 0
    model: str | None = None
    endpoint: str | None = None
    bytes: int = 0
    sha256: str = ""
    inputs: int = 0
    error_count: int
    errors: tuple[LineError, ...]
    index: LineIndex

    @classmethod
    def refused(cls, error: LineError, *, size: int = 0) -> Validated:
        """Return what is known of a file that is refused as a whole."""
        return cls(bytes=size, error_count=1, errors=(error,), index=LineIndex())

    @property
    def refusal(self) -> str:
        """Why a file with mistakes cannot be used, in words."""
        first = self.errors[0]
        where = f"line {first.line}: " if first.line is not None else ""
        more = f" ({self.error_count - 1} more)" if self.error_count > 1 else ""
        return f"the input cannot be used: {where}{first.message}{more}"

    def to_wire(self) -> dict[str, object]:
        """Return a JSON-ready dict, without the index."""
        return {
            "valid": not self.error_count,
            "total": self.total,
            "model": self.model,
            "endpoint": self.endpoint,
            "bytes": self.bytes,
            "sha256": self.sha256,
            "inputs": self.inputs,
            "error_count": self.error_count,
            "errors": [error.to_wire() for error in self.errors],
        }


def validate(file: InputFile, rules: Rules) -> Validated:
    """Read the file once, and tell what it holds or what is wrong with it.

    Mistakes of the file are values. `InputUnreadable` is raised when the file system fails.
    """
    if file.size > rules.most_bytes:
        message = f"the input has {file.size} bytes; at most {rules.most_bytes} are taken"
        return Validated.refused(LineError(code="file_too_large", message=message), size=file.size)
    examination = Examination(file, rules)
    try:
        examination.run()
        file.require_unchanged()
    except InputRefused as refused:
        # What was seen of its lines before says nothing any more.
        return Validated.refused(refused.error, size=file.size)
    return Validated(
        total=examination.total,
        model=examination.rules.model,
        endpoint=examination.rules.endpoint,
        bytes=file.size,
        sha256=examination.sha256,
        inputs=examination.inputs,
        error_count=examination.mistakes.count,
        errors=tuple(examination.mistakes.first),
        index=examination.index,
    )
