"""Why lines failed: the codes of an error file, the most frequent first, with a sample of each."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from batch.commands.printable import printable

#: An engine may have a code of its own for every line: so many are told apart.
_MOST_CODES = 1_000
_OTHERS = "other codes"
_SHOWN = 5
#: So much of a sample is shown (characters).
_MOST_WORDS = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Lines that failed with one code: how many, the first one, and what was said of it."""

    code: str
    lines: int
    custom_id: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failures:
    """All lines of an error file, or its first ones, by code."""

    lines: int
    codes: tuple[Failure, ...]

    def to_wire(self) -> dict[str, object]:
        """Return a JSON-ready dict."""
        return asdict(self)


def of_file(path: Path) -> Failures:
    """Return why the lines of an error file failed, or raise `OSError`. Blocks."""
    with path.open("rb") as lines:
        return of_lines(lines)


def of_lines(lines: Iterable[bytes]) -> Failures:
    """Return why these lines failed; one that nobody can read counts, too."""
    counts: Counter[str] = Counter()
    samples: dict[str, tuple[str, str]] = {}
    for line in lines:
        code, custom_id, message = _read(line)
        if code not in samples and len(samples) >= _MOST_CODES:
            code = _OTHERS
        counts[code] += 1
        samples.setdefault(code, (custom_id, message))
    codes = (
        Failure(code=code, lines=count, custom_id=samples[code][0], message=samples[code][1])
        for code, count in counts.most_common()
    )
    return Failures(lines=counts.total(), codes=tuple(codes))


def as_lines(failures: Failures, *, of: int) -> Iterator[str]:
    """Yield a small table; `of` is how many lines there are, if not all were looked at."""
    first = f" (of the first {failures.lines:,} of {of:,} lines)" if of > failures.lines else ""
    if failures.codes:
        yield f"  why lines have no good answer{first}:"
    shown = failures.codes[:_SHOWN]
    columns = max((len(f"{failure.lines:,}") for failure in shown), default=0)
    for failure in shown:
        yield f"    {failure.lines:>{columns},}  {printable(failure.code)}, {_sample(failure)}"
    if rest := sum(failure.lines for failure in failures.codes[_SHOWN:]):
        codes = len(failures.codes) - _SHOWN
        yield f"    {rest:>{columns},}  with {codes:,} more code{'s' * (codes > 1)}"


def _sample(failure: Failure) -> str:
    words = printable(failure.message)
    if len(words) > _MOST_WORDS:
        words = f"{words[:_MOST_WORDS]} …"
    return f"as of {printable(failure.custom_id)}: {words}"


def _read(line: bytes) -> tuple[str, str, str]:
    """Return code, `custom_id` and message of an error line."""
    try:
        found: Any = json.loads(line)
    except (ValueError, RecursionError):
        found = None
    record = found if isinstance(found, dict) else {}
    error = record.get("error")
    said = error if isinstance(error, dict) else {}
    return (
        str(said.get("code") or "unknown"),
        str(record.get("custom_id") or "a line without custom_id"),
        str(said.get("message") or "no message"),
    )
