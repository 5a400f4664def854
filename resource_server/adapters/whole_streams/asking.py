"""How an engine is asked for a whole answer by somebody who wants a stream."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from resource_server.adapters import request_bodies
from resource_server.domain.inference import InferenceRequest

#: Engines refuse these without `stream`: what bodies have, and what forms have in its place.
_OPTIONS: Final = "stream_options"
_FORM_USAGE: Final = "stream_include_usage"
_OF_FORMS: Final = (_FORM_USAGE, "stream_continuous_usage_stats")


def content_type(request: InferenceRequest) -> str:
    """Return what the request's body says it is."""
    return next(
        (value for name, value in request.headers.items() if name.lower() == "content-type"), ""
    )


def asking(request: InferenceRequest) -> InferenceRequest:
    """Return the request for the same answer in one piece."""
    kind = content_type(request)
    options = _OF_FORMS if _is_form(kind) else (_OPTIONS,)
    changes = {"stream": False, **dict.fromkeys(options, request_bodies.ABSENT)}
    headers = {name: value for name, value in request.headers.items() if name.lower() != "accept"}
    body = request_bodies.with_fields(request.body, kind, changes)
    return replace(request, body=body, headers=headers)


def wants_usage(request: InferenceRequest) -> bool:
    """Tell whether the stream is to end with what was used, as OpenAI's do on demand."""
    kind = content_type(request)
    if _is_form(kind):
        wanted = request_bodies.form_field(request.body, kind, _FORM_USAGE)
        return wanted is not None and wanted.lower() == "true"
    options = request_bodies.field(request.body, kind, _OPTIONS)
    return isinstance(options, dict) and options.get("include_usage") is True


def _is_form(kind: str) -> bool:
    return kind.startswith("multipart/form-data")
