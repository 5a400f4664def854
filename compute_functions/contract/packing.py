"""How a body of bytes crosses Globus Compute, inside JSON inside JSON and within its limit."""

from __future__ import annotations

import base64
import binascii
import zlib

from compute_functions.contract import fields
from compute_functions.contract.errors import ContractError
from compute_functions.contract.fields import JsonObject

#: Globus Compute refuses more than this in one submission and in one result (bytes, packed).
GLOBUS_PAYLOAD_LIMIT = 10_000_000
#: Room for the envelope (ids, headers, the service's own fields) beside a body, in bytes.
ENVELOPE_ALLOWANCE = 16_384
#: Bodies shorter than this travel as text: compressing them costs more than it saves (bytes).
COMPRESS_FROM = 1_024
#: The most a body may become when it is unpacked (bytes): nobody can send a zip bomb.
MAX_UNPACKED = 64 * 1024 * 1024


def pack(body: bytes) -> JsonObject:
    """Return `body` in the form in which it survives JSON inside JSON at the least size."""
    if len(body) < COMPRESS_FROM:
        try:
            return {"text": body.decode("utf-8")}
        except UnicodeDecodeError:
            return {"zlib": _compressed(body)}
    return {"zlib": _compressed(body)}


def unpack(packed: object) -> bytes:
    """Return the bytes that `pack` was given, or raise `ContractError`."""
    match packed:
        case {"text": str() as text}:
            return fields.encoded(text, "a body")
        case {"zlib": str() as data}:
            return _decompressed(data)
        case _:
            raise ContractError("a body is neither text nor zlib")


def packed_size(packed: JsonObject) -> int:
    """Return the bytes that a packed body adds to a submission or result.

    Text is quoted once as a JSON string and once more inside the submission; base64 needs no
    quoting.
    """
    text = packed.get("text")
    if text is None:
        return len(packed["zlib"])
    return 4 * len(text.encode("utf-8")) + 16


def _compressed(body: bytes) -> str:
    return base64.b64encode(zlib.compress(body, 6)).decode("ascii")


def _decompressed(data: str) -> bytes:
    try:
        inflater = zlib.decompressobj()
        body = inflater.decompress(base64.b64decode(data, validate=True), MAX_UNPACKED)
    except (binascii.Error, ValueError, zlib.error) as error:
        raise ContractError("a zlib body cannot be read") from error
    if not inflater.eof:
        raise ContractError(f"a zlib body is cut off or unpacks to more than {MAX_UNPACKED} bytes")
    return body
