r"""One record of the journal: a checksum, a length, and a JSON object on one line.

    <crc32 of the rest, 8 hex> <length, decimal> <JSON>\n

An `Answer` says what came of a line, for good. A `Tries` says how often a line was tried in vain,
so that one that kills its engine is not tried for ever, whoever resumes. An `Asked` stands there
before a line is asked that may end all that could tell of it. A `Left` says that the runner ended
by itself, and leaves nothing untold; where the disk takes none, `segment.mark_left` says so. A
`Seal` says how much of the earlier segments holds.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from batch.use import Tokens, Use

#: No JSON text of ours has this in a string: there a quotation mark follows a backslash. The same
#: holds for the names in the pattern below.
_BODY = b',"body":'
#: A JSON string. Possessive: nothing is tried twice, which makes the pattern three times as quick.
_STRING = rb'"(?:[^"\\]++|\\.)*+"'
#: What of an answer is counted, as `_payload` writes it.
_COUNTED = re.compile(
    rb'\{"line":(\d++),"custom_id":%b,"status":(?:\d++|null),"request_id":%b,'
    rb'"error":(null|\[.*?\]),"use":\[(\d++),(\d++),(\d++),(\d++)\],' % (_STRING, _STRING)
)
_CHECKSUM = 9
#: Made once: `json.dumps` makes an encoder for each call.
_pack = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why a line has no sound answer."""

    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of a line. `body` is JSON on one line, as the engine sent it.

    `status` is None if there was no answer; then, and if it is no 2xx, there is a `problem`.
    """

    line: int
    custom_id: str
    status: int | None
    request_id: str
    problem: Problem | None
    use: Use = field(default_factory=Use)
    attempts: int = 1
    body: bytes = b"null"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tries:
    """How often a line was tried in vain so far, and how often its engine was lost besides."""

    line: int
    tries: int
    losses: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A line is about to be asked."""

    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """The runner ended by itself: what it had asked, and has not told of, was left for another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """How many bytes of each earlier segment hold; of one that is not named none."""

    lengths: Mapping[int, int]


Record = Answer | Tries | Asked | Left | Seal


def pack(record: Record) -> bytes:
    """Return the record as it stands in a segment."""
    payload = _payload(record)
    rest = b"%d %b" % (len(payload), payload)
    return b"%08x %b\n" % (zlib.crc32(rest), rest)


def unframe(line: bytes) -> bytes | None:
    """Return the JSON of a segment's line, or None if it is torn or does not fit its sum."""
    rest = line[_CHECKSUM:-1] if line.endswith(b"\n") else line[_CHECKSUM:]
    if line[:_CHECKSUM] != b"%08x " % zlib.crc32(rest):
        return None
    length, space, payload = rest.partition(b" ")
    return payload if space and length == b"%d" % len(payload) else None


def unpack(payload: bytes, *, with_body: bool = True) -> Record:
    """Return what a record's JSON says. Its sum was right, so it is as `pack` wrote it."""
    place = payload.find(_BODY)
    if place < 0:
        return _other(json.loads(payload))
    values = json.loads(payload[:place] + b"}")
    problem = values["error"]
    return Answer(
        line=values["line"],
        custom_id=values["custom_id"],
        status=values["status"],
        request_id=values["request_id"],
        problem=problem and Problem(code=problem[0], message=problem[1]),
        use=Use.of(values["use"]),
        attempts=values["attempts"],
        body=payload[place + len(_BODY) : -1] if with_body else b"",
    )


class Counted(NamedTuple):
    """What of an answer is counted: whose it is, whether it is a sound one, what it cost.

    `tokens` are those of `Use`, in its order. A tuple of tuples, because a journal has hundreds of
    thousands and whoever resumes reads them all before the first request.
    """

    line: int
    completed: bool
    tokens: Tokens


def counted(payload: bytes) -> Counted | None:
    """Return what is counted of an answer, without reading the rest; None for other records."""
    found = _COUNTED.match(payload)
    if found is None:
        return None
    line, error, given, cached, made, reasoning = found.groups()
    tokens = int(given), int(cached), int(made), int(reasoning)
    return Counted(int(line), error == b"null", tokens)


def _payload(record: Record) -> bytes:
    match record:
        case Answer():
            return _of_answer(record)
        case Seal(lengths=lengths):
            return _json({"seal": {str(epoch): size for epoch, size in lengths.items()}})
        case Tries(line=line, tries=tries, losses=losses):
            return _json({"line": line, "tries": tries, "losses": losses})
        case Asked(line=line):
            return _json({"asked": line})
        case Left():
            return _json({"left": True})


def _of_answer(record: Answer) -> bytes:
    problem = record.problem
    head = _json(
        {
            "line": record.line,
            "custom_id": record.custom_id,
            "status": record.status,
            "request_id": record.request_id,
            "error": None if problem is None else [problem.code, problem.message],
            "use": record.use.tokens,
            "attempts": record.attempts,
        }
    )
    return b"%b%b%b}" % (head[:-1], _BODY, record.body)


def _other(values: dict[str, object]) -> Tries | Asked | Left | Seal:
    match values:
        case {"seal": dict(lengths)}:
            return Seal(lengths={int(epoch): int(size) for epoch, size in lengths.items()})
        case {"line": int(line), "tries": int(tries), "losses": int(losses)}:
            return Tries(line=line, tries=tries, losses=losses)
        case {"line": int(line), "tries": int(tries)}:
            return Tries(line=line, tries=tries)  # Journals of before 2026-11-22 know no losses.
        case {"asked": int(line)}:
            return Asked(line=line)
        case {"left": True}:
            return Left()
        case _:
            raise AssertionError("a record of no kind")


def _json(values: object) -> bytes:
    return _pack(values).encode()
