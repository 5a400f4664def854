"""Spans of the hops between gateway and engine, made from the times that an answer reports."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from opentelemetry.trace import Span, Tracer, set_span_in_context

_NS_PER_MS = 1_000_000


def add(tracer: Tracer, parent: Span, record: Mapping[str, Any]) -> None:
    """Add a span for each hop: the queue, then the transport, the site in it, the engine in that.

    The hops end where the request ends now. How long they took was measured, when they began was
    not: the way there and the way back are taken to be equally long.
    """
    end = time.time_ns()
    queue, transport, site, engine = (
        round(record[f"{hop}_ms"] * _NS_PER_MS) for hop in ("queue", "transport", "site", "engine")
    )
    away = transport + site + engine
    _add(tracer, parent, "queue", start=end - away - queue, length=queue)
    way = _add(tracer, parent, record["transport"], start=end - away, length=away)
    at_site = end - away + transport // 2
    place = _add(tracer, way, "site", start=at_site, length=site + engine)
    _add(tracer, place, "engine", start=at_site + site // 2, length=engine)


def _add(tracer: Tracer, parent: Span, name: str, *, start: int, length: int) -> Span:
    span = tracer.start_span(name, context=set_span_in_context(parent), start_time=start)
    span.end(start + length)
    return span
