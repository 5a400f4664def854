"""The body with which a batch is asked for: OpenAI's fields and ALCF's, of which one asks for it.

`input_file_id` is OpenAI's, an uploaded file; `input_file` is ALCF's, a path at a cluster.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from resource_server.domain import batch_requests, errors, files
from resource_server.domain.batch_requests import USUAL_WINDOW, BatchRequest

#: No request for a batch is longer (bytes): two paths and the most metadata.
MOST_BYTES = 262_144
#: Where the decoder says which field is wrong.
_FIELD = re.compile(r" - at `\$\.(\w+)`$")


class _Fields(msgspec.Struct, frozen=True, kw_only=True):
    """The fields that are read; all others are left alone."""

    input_file_id: str | None = None
    input_file: str | None = None
    output_folder_path: str | None = None
    model: str | None = None
    endpoint: str | None = None
    completion_window: str | None = None
    metadata: Any = None
    output_expires_after: Any = None


_decoder = msgspec.json.Decoder(_Fields)


def read_batch(content: bytes, *, idempotency_key: str | None) -> BatchRequest:
    """Return what is asked for, or raise `InvalidRequest`."""
    if len(content) > MOST_BYTES:
        raise errors.InvalidRequest(
            f"A request for a batch has at most {MOST_BYTES} bytes. Its lines go into a file."
        )
    said = _read(content)
    return BatchRequest(
        input_file_id=said.input_file_id,
        input_path=said.input_file,
        output_folder=said.output_folder_path or None,
        model=said.model,
        endpoint=said.endpoint,
        completion_window=said.completion_window or USUAL_WINDOW,
        metadata=batch_requests.read_metadata(said.metadata),
        output_keep_s=files.read_expiry(said.output_expires_after, "output_expires_after"),
        idempotency_key=idempotency_key,
    )


def _read(content: bytes) -> _Fields:
    try:
        return _decoder.decode(content)
    except msgspec.ValidationError as error:
        field = _FIELD.search(str(error))
        raise errors.InvalidRequest(str(error), param=field[1] if field else None) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise errors.InvalidRequest(f"The body is not a JSON object: {error}") from error
