"""The spans of each request: one of HTTP, one in the words of GenAI, and one for each hop.

A site may have no way to a collector, so the gateway makes the spans of the hops from the times
that the answer reports. No span holds a prompt, an answer, a token or a person's name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from resource_server.adapters.tracing import attributes, hops
from resource_server.domain.inference import LateAnswer

_propagator = TraceContextTextMapPropagator()
_FIELDS = {b"traceparent": "traceparent", b"tracestate": "tracestate"}
_FIRST_CALLERS_FAULT = 400
_FIRST_OURS = 500


class RequestTracer:
    """Follows requests into spans of `tracer`."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def begin(self, headers: Iterable[tuple[bytes, bytes]]) -> TracedRequest:
        """Begin the request's span, in the caller's trace if the caller has one."""
        carrier = {_FIELDS[n]: v.decode("latin-1") for n, v in headers if n in _FIELDS}
        return TracedRequest(self._tracer, _propagator.extract(carrier, context=Context()))

    def late(self, late: LateAnswer) -> None:
        """Do nothing: the request's spans ended when its caller left."""


class TracedRequest:
    """One request's spans."""

    __slots__ = ("_inference", "_server", "_tracer")

    def __init__(self, tracer: Tracer, parent: Context) -> None:
        self._tracer = tracer
        self._server = tracer.start_span("HTTP", context=parent, kind=SpanKind.SERVER)
        self._inference: Span | None = None

    @property
    def trace_id(self) -> str:
        """The trace's id, as everybody writes it."""
        return f"{self._server.get_span_context().trace_id:032x}"

    def onward(self) -> Mapping[str, str]:
        """Begin the span of the engine's work, and return what makes it the engine's parent."""
        self._inference = self._tracer.start_span(
            "inference", context=set_span_in_context(self._server), kind=SpanKind.CLIENT
        )
        carrier: dict[str, str] = {}
        _propagator.inject(carrier, context=set_span_in_context(self._inference))
        return carrier

    def streams(self) -> None:
        """Do nothing: the spans of a stream end with it, as all do."""

    def end(self, record: Mapping[str, Any]) -> None:
        """End all spans with what the log says of the request."""
        if not self._server.is_recording():
            return
        # A span that never ends is never sent: this request did not leave the gateway.
        if self._inference is not None and _left(record):
            self._end_inference(self._inference, record)
        attributes.describe_http(self._server, record)
        self._server.end()

    def _end_inference(self, span: Span, record: Mapping[str, Any]) -> None:
        attributes.describe_inference(span, record)
        if "transport" in record:
            hops.add(self._tracer, span, record)
        span.end()


def _left(record: Mapping[str, Any]) -> bool:
    """Tell whether a request went to an engine, as far as can be known."""
    refused = _FIRST_CALLERS_FAULT <= record["status"] < _FIRST_OURS
    return "transport" in record or "client" in record or not refused
