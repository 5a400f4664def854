"""What services are given to make streams of whole answers."""

from __future__ import annotations

from typing import Final

import msgspec

from resource_server.adapters.whole_streams.asking import asking
from resource_server.adapters.whole_streams.events import EVENTS, Json, data, named
from resource_server.adapters.whole_streams.stream import MARK, WholeStream
from resource_server.domain.catalog import Transport
from resource_server.domain.inference import InferenceAnswer, InferenceRequest, StreamHead

_OK: Final = 200
#: What an error of OpenAI's says of itself.
_FACTS: Final = ("message", "type", "param", "code")


class WholeStreamMaker:
    """A `ports.StreamMaker`."""

    def asking(self, request: InferenceRequest) -> InferenceRequest:
        """Return the request for the same answer in one piece."""
        return asking(request)

    def of(self, answer: InferenceAnswer, request: InferenceRequest) -> WholeStream:
        """Return the answer as a stream; what cannot be said in events stays what it is."""
        return WholeStream.of(answer, request)

    def waiting(self) -> StreamHead:
        """Return the head of a stream that begins before its answer has come."""
        return StreamHead(
            status=_OK, content_type=EVENTS, transport=Transport.TASK.value, headers=MARK
        )

    def refusal(self, answer: InferenceAnswer, path: str) -> bytes | None:
        """Return as an event what an engine said when it refused; None if that is not clear."""
        error = _error(answer.body)
        if error is None:
            return None
        if path == "/v1/messages":
            return named({"type": "error", "error": error})
        if path == "/v1/responses":
            facts = {name: error.get(name) for name in ("code", "message", "param")}
            return named({"type": "error", **facts, "sequence_number": 0, "error": error})
        return data({"error": error})


def _error(body: bytes) -> Json | None:
    """Return the error in an engine's body: within it, or all of it as older engines have it."""
    try:
        said = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(said, dict):
        return None
    error = said.get("error")
    if isinstance(error, dict):
        return error
    if isinstance(said.get("message"), str):
        return {name: said.get(name) for name in _FACTS}
    return None
