"""Which model the first line of an uploaded input names; all else about it is for its site."""

from __future__ import annotations

import asyncio
import codecs
import json
from contextlib import aclosing

from compute_functions.contract.batches import MOST_LINE_BYTES, LineError
from resource_server.batch_ports import StoredBytes
from resource_server.domain.files import StoredFile

#: So many bytes of a line do not count: a byte order mark and a CR.
_NOT_CONTENT = 4


async def model_of(disk: StoredBytes, file: StoredFile) -> str | LineError:
    """Return the model that the first line names, or what is wrong with the line."""
    line = await _first_line(disk, file)
    if not line.strip():
        return _problem("empty_line" if file.bytes else "empty_file", "There is nothing in it.")
    if len(line) > MOST_LINE_BYTES:
        return _problem("line_too_long", f"A line has at most {MOST_LINE_BYTES} bytes.")
    # It may take tenths of a second.
    return await asyncio.to_thread(_read, line)


async def _first_line(disk: StoredBytes, file: StoredFile) -> bytes:
    found = bytearray()
    async with aclosing(disk.read(file.id)) as content:
        async for piece in content:
            found += piece
            if b"\n" in piece or len(found) > MOST_LINE_BYTES + _NOT_CONTENT:
                break
    return bytes(found.partition(b"\n")[0]).removeprefix(codecs.BOM_UTF8).removesuffix(b"\r")


def _read(line: bytes) -> str | LineError:
    try:
        request = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError:
        return _problem("invalid_encoding", "The line is not UTF-8.")
    except (ValueError, RecursionError):
        return _problem("invalid_json", "The line is no JSON.")
    if not isinstance(request, dict):
        return _problem("invalid_json", "The line is no JSON object.")
    body = request.get("body")
    if not isinstance(body, dict):
        return _problem("missing_body", "The line has no body.", param="body")
    model = body.get("model")
    if not isinstance(model, str) or not model or not model.isprintable():
        return _problem("missing_model", "The line's body names no model.", param="body.model")
    return model


def _problem(code: str, message: str, *, param: str | None = None) -> LineError:
    line = None if code == "empty_file" else 1
    return LineError(code=code, message=message, line=line, param=param)
