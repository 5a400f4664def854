"""Files of batches: what they hold, and the pieces in which they cross."""

from __future__ import annotations

import base64
import binascii
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Self

from compute_functions.contract import fields
from compute_functions.contract.batches.batch_fields import MOST_FILE, batch_id, sha256
from compute_functions.contract.errors import ContractError
from compute_functions.contract.fields import PROTOCOL_VERSION, JsonObject

#: The largest piece of a file (bytes): with it a message stays well below each transport's limit.
MOST_PIECE = 1024 * 1024


class BatchFile(StrEnum):
    """Which file of a batch."""

    INPUT = "input"
    OUTPUT = "output"
    ERRORS = "errors"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSum:
    """What a file holds: its length (bytes) and the SHA-256 of its content (hex)."""

    bytes: int
    sha256: str

    def to_wire(self) -> JsonObject:
        """Return a JSON-ready dict."""
        return asdict(self)

    @classmethod
    def from_wire(cls, wire: object) -> Self:
        """Read what `to_wire` wrote."""
        values = fields.json_object(wire, "a file's sum")
        return cls(
            bytes=fields.count(values, "bytes", most=MOST_FILE),
            sha256=sha256(fields.text(values, "sha256")),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PieceCall:
    """The argument of `batch_file`: put `content` at `offset` of the input, or get what is there.

    With `content` None, at most `MOST_PIECE` bytes from `offset` on are asked for.
    """

    batch: str
    file: BatchFile
    offset: int
    content: bytes | None = None

    def to_wire(self) -> JsonObject:
        """Return a JSON-ready dict."""
        return {
            "v": PROTOCOL_VERSION,
            "batch": self.batch,
            "file": self.file.value,
            "offset": self.offset,
            "content": None if self.content is None else _packed(self.content),
        }

    @classmethod
    def from_wire(cls, wire: object) -> Self:
        """Read what `to_wire` wrote."""
        values = fields.versioned(wire)
        content = fields.present(values, "content")
        return cls(
            batch=batch_id(values),
            file=_file(values),
            offset=fields.count(values, "offset", most=MOST_FILE),
            content=None if content is None else _unpacked(fields.text(values, "content")),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """What `batch_file` gives: after a put, `size` is how many bytes the site has now.

    A put that does not begin where the site's file ends changes nothing: `size` says where to go
    on. After a get, `size` is the length of the whole file, and `content` what was asked for.
    """

    size: int
    content: bytes = b""

    def to_wire(self) -> JsonObject:
        """Return a JSON-ready dict."""
        return {
            "v": PROTOCOL_VERSION,
            "kind": "piece",
            "size": self.size,
            "content": _packed(self.content),
        }

    @classmethod
    def from_wire(cls, wire: object) -> Self:
        """Read what `to_wire` wrote."""
        values = fields.versioned(wire)
        return cls(
            size=fields.count(values, "size", most=MOST_FILE),
            content=_unpacked(fields.text(values, "content")),
        )


def optional_sum(values: JsonObject, name: str) -> FileSum | None:
    """Return what a file holds, or None where it is null."""
    found = fields.present(values, name)
    return None if found is None else FileSum.from_wire(found)


def _file(values: JsonObject) -> BatchFile:
    try:
        return BatchFile(fields.text(values, "file"))
    except ValueError:
        raise ContractError(f"unknown file {fields.quoted(values.get('file'))}") from None


def _packed(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _unpacked(text: str) -> bytes:
    if len(text) > (MOST_PIECE + 2) // 3 * 4:
        raise ContractError("a piece is too large")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ContractError("a piece is not base64") from None
