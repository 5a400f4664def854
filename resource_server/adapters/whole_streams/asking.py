"""How an engine is asked for a whole answer by somebody who wants a stream."""

from __future__ import annotations

from dataclasses import replace

from resource_server.adapters import request_bodies
from resource_server.domain.inference import InferenceRequest

#: Engines refuse this one without `stream`.
_OPTIONS = "stream_options"


def content_type(request: InferenceRequest) -> str:
    """Return what the request's body says it is."""
    return next(
        (value for name, value in request.headers.items() if name.lower() == "content-type"), ""
    )


def asking(request: InferenceRequest) -> InferenceRequest:
    """Return the request for the same answer in one piece."""
    kind = content_type(request)
    changes = {"stream": False, _OPTIONS: request_bodies.ABSENT}
    headers = {name: value for name, value in request.headers.items() if name.lower() != "accept"}
    body = request_bodies.with_fields(request.body, kind, changes)
    return replace(request, body=body, headers=headers)


def wants_usage(request: InferenceRequest) -> bool:
    """Tell whether the stream is to end with what was used, as OpenAI's do on demand."""
    options = request_bodies.field(request.body, content_type(request), _OPTIONS)
    return isinstance(options, dict) and options.get("include_usage") is True
