"""What remains of a batch: the lines of its input that have no good answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

from batch.errors import DiskFailed
from batch.input_file import InputFile
from batch.rules import Rules


def answered(output: Path) -> Iterator[tuple[str, bytes]]:
    """Yield each good answer of an output file: its `custom_id`, and the line as it stands."""
    try:
        with output.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                record = _object(line)
                if record is None:
                    raise DiskFailed(f"{output}: line {number} is no JSON object")
                if _good(record):
                    yield str(record.get("custom_id")), line
    except OSError as error:
        raise DiskFailed(f"{output}: {error.strerror}") from error


def answered_ids(output: Path) -> set[str]:
    """Return the `custom_id` of each good answer of an output file."""
    return {custom_id for custom_id, _ in answered(output)}


def write_remaining(
    source: InputFile,
    done: Collection[str],
    write: Callable[[bytes], object],
    *,
    most_line_bytes: int = Rules().most_line_bytes,
) -> int:
    """Write the lines that have no good answer, and return how many there are.

    A line that nobody can read is one of them: the check of the new file says what is wrong. A
    blank line is none.
    """
    count = 0
    for line in source.lines(most_line_bytes=most_line_bytes):
        if line.length and not _is_done(line.content, done):
            # Of a line that is much too long only the place is known.
            write((line.content or source.line_at(line.offset, line.length)) + b"\n")
            count += 1
    return count


def _is_done(line: bytes, done: Collection[str]) -> bool:
    custom_id = (_object(line) or {}).get("custom_id")
    return isinstance(custom_id, str) and custom_id in done


def _good(record: dict[str, Any]) -> bool:
    response = record.get("response")
    if not isinstance(response, dict) or record.get("error"):
        return False
    status = response.get("status_code")
    return isinstance(status, int) and 200 <= status < 300  # noqa: PLR2004 - HTTP's classes


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
