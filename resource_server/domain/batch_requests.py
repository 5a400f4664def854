"""What somebody asks for with a batch, held against what one may ask for."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from compute_functions.contract.batches import MOST_PATH
from resource_server.domain import errors
from resource_server.domain.files import LONGEST_NAME
from resource_server.domain.routing import Base

#: The paths that lines may name.
ENDPOINTS = (
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/responses",
    "/v1/rerank",
)
MOST_PAIRS, LONGEST_KEY, LONGEST_VALUE = 16, 64, 512
LONGEST_IDEMPOTENCY_KEY = 255
#: What OpenAI's clients ask for, and what holds where nobody asks.
USUAL_WINDOW = "24h"
_WINDOW = re.compile(r"([1-9][0-9]{0,3})([hd])")
_UNITS_S = {"h": 3600, "d": 86_400}
_PRINTABLE_ASCII = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRequest:
    """A batch that somebody wants: its input is an uploaded file, or a file of a cluster.

    `model` and `endpoint` are those of its lines, as far as the request says them. With
    `output_folder`, a folder of the cluster, the results are written there too. Who repeats a
    request with the same `idempotency_key` gets the same batch. Of an upload the results become
    files of the gateway; with `fetches` they do in any case.
    """

    input_file_id: str | None = None
    input_path: str | None = None
    output_folder: str | None = None
    model: str | None = None
    endpoint: str | None = None
    completion_window: str = USUAL_WINDOW
    metadata: Mapping[str, str] = field(default_factory=dict)
    output_keep_s: int | None = None
    fetches: bool = False
    idempotency_key: str | None = None

    def digest(self, base: Base) -> str:
        """Return what is the same for the same request, and differs for any other."""
        said = {
            "base": [base.cluster, base.framework, base.project],
            "file": self.input_file_id,
            "path": self.input_path,
            "folder": self.output_folder,
            "model": self.model,
            "endpoint": self.endpoint,
            "window": self.completion_window,
            "metadata": dict(self.metadata),
            "keep": self.output_keep_s,
            "fetches": self.fetches,
        }
        text = json.dumps(said, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def require_sound(request: BatchRequest, *, longest_window_s: float) -> float:
    """Raise `InvalidRequest` for what nobody may ask for; return the window in seconds."""
    _require_input(request)
    if request.endpoint is not None and request.endpoint not in ENDPOINTS:
        raise errors.InvalidRequest(f"endpoint is one of {', '.join(ENDPOINTS)}.", param="endpoint")
    if request.model is not None and not request.model.isprintable():
        raise errors.InvalidRequest("model is no name of one.", param="model")
    _require_metadata(request.metadata)
    _require_key(request.idempotency_key)
    return window_s(request.completion_window, longest_s=longest_window_s)


def window_s(window: str, *, longest_s: float) -> float:
    """Return a completion window in seconds: hours as `24h`, or days as `2d`."""
    match = _WINDOW.fullmatch(window)
    seconds = int(match[1]) * _UNITS_S[match[2]] if match else 0
    if not 0 < seconds <= longest_s:
        raise errors.InvalidRequest(
            "completion_window is a number of hours or days, as '24h' or '3d', up to "
            f"{longest_s / 3600:g} hours.",
            param="completion_window",
        )
    return float(seconds)


def read_metadata(value: object) -> dict[str, str]:
    """Return what a request says as `metadata`, or raise `InvalidRequest`."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise errors.InvalidRequest("metadata is an object.", param="metadata")
    if not all(isinstance(text, str) for pair in value.items() for text in pair):
        raise errors.InvalidRequest("The values of metadata are strings.", param="metadata")
    metadata = {str(key): str(text) for key, text in value.items()}
    _require_metadata(metadata)
    return metadata


def _require_input(request: BatchRequest) -> None:
    given = (request.input_file_id, request.input_path)
    if None not in given or not any(one is not None for one in given):
        said = "The request names no input" if given == (None, None) else "Name one input, not two"
        raise errors.InvalidRequest(
            f"{said}: an uploaded file (input_file_id), or a file of the cluster (input_file).",
            param="input_file_id",
        )
    if request.input_path is not None:
        _require_path(request.input_path, "input_file")
        _require_name(request.input_path.rpartition("/")[2])
    if request.output_folder is not None:
        if request.input_path is None:
            raise errors.InvalidRequest(
                "Results of an uploaded file come back as files, and into no folder.",
                param="output_folder_path",
            )
        _require_path(request.output_folder, "output_folder_path")


def _require_path(path: str, name: str) -> None:
    if not path.startswith("/") or len(path) > MOST_PATH or not path.isprintable():
        raise errors.InvalidRequest(
            f"{name} is the full path of a file of the cluster, as /project/data/in.jsonl.",
            param=name,
        )


def _require_name(name: str) -> None:
    if name in {"", ".", ".."}:
        raise errors.InvalidRequest("input_file names a folder.", param="input_file")
    if len(name) > LONGEST_NAME:
        raise errors.InvalidRequest(
            f"A file's name has at most {LONGEST_NAME} characters.", param="input_file"
        )


def _require_metadata(metadata: Mapping[str, str]) -> None:
    if len(metadata) > MOST_PAIRS:
        raise errors.InvalidRequest(f"metadata has at most {MOST_PAIRS} pairs.", param="metadata")
    for key, value in metadata.items():
        if not _storable(key + value) or not key:
            raise errors.InvalidRequest(
                "metadata holds a key that is empty, or a character that is none.",
                param="metadata",
            )
        if len(key) > LONGEST_KEY or len(value) > LONGEST_VALUE:
            raise errors.InvalidRequest(
                f"A key of metadata has at most {LONGEST_KEY} characters, a value {LONGEST_VALUE}.",
                param="metadata",
            )


def _storable(text: str) -> bool:
    """Tell whether a database takes a text: NUL and halves of characters it does not."""
    return "\0" not in text and not any("\ud800" <= one <= "\udfff" for one in text)


def _require_key(key: str | None) -> None:
    if key is None:
        return
    if len(key) > LONGEST_IDEMPOTENCY_KEY or not _PRINTABLE_ASCII.fullmatch(key):
        raise errors.InvalidRequest(
            f"An idempotency key has 1 to {LONGEST_IDEMPOTENCY_KEY} printable characters.",
            param="idempotency_key",
        )
