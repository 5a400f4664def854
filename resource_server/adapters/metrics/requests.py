"""Counts requests by what their line in the log says, so that metrics and log cannot disagree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from resource_server.adapters.metrics.instruments import SERVED, Instruments
from resource_server.adapters.metrics.series import Series
from resource_server.domain.inference import LateAnswer

#: The route of a request for which there is none.
UNMATCHED = "unmatched"
#: What HTTP knows (RFC 9110 and PATCH); others are one label together.
METHODS = frozenset(
    ("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE")
)
OTHER_METHOD = "_OTHER"
#: Fields of the log line with the time of one hop in milliseconds, and the hop's name.
HOPS = {
    "duration_ms": "total",
    "gateway_ms": "gateway",
    "queue_ms": "queue",
    "transport_ms": "transport",
    "site_ms": "site",
    "engine_ms": "engine",
}
#: Fields of the log line with a number of tokens, and their kind.
KINDS = {
    "input_tokens": "input",
    "output_tokens": "output",
    "cached_tokens": "cached",
    "reasoning_tokens": "reasoning",
}
_TOKEN_REFUSED = "invalid_api_key"  # noqa: S105 - the name of an error
_TOKEN_UNCHECKED = frozenset(
    {"identity_service_unavailable", "identity_service_busy", "identity_service_throttled"}
)


class RequestMetrics:
    """Takes the line of each request. It never fails and never waits."""

    def __init__(self, instruments: Instruments) -> None:
        self._in_flight = 0
        self._streams_open = 0
        self._streams_open_gauge = instruments.streams_open
        self._first_event = Series(instruments.first_event)
        self._streams_broken = Series(instruments.streams_broken)
        self._in_flight_gauge = instruments.in_flight
        self._http_requests = Series(instruments.http_requests)
        self._requests = Series(instruments.requests)
        self._seconds = Series(instruments.seconds)
        self._cold_start = Series(instruments.cold_start)
        self._tokens = Series(instruments.tokens)
        self._late_answers = Series(instruments.late_answers)
        self._limit_refusals = Series(instruments.limit_refusals)
        self._token_checks = Series(instruments.token_checks)

    def begun(self) -> None:
        """Count a request that is under way."""
        self._in_flight += 1

    def streams(self) -> None:
        """Count a stream that is under way."""
        self._streams_open += 1

    def show_in_flight(self) -> None:
        """Say how many are under way: at times, for each change of the gauge would cost more."""
        self._in_flight_gauge.set(self._in_flight)
        self._streams_open_gauge.set(self._streams_open)

    def ended(self, record: Mapping[str, Any]) -> None:
        """Count a request by its line in the log."""
        self._in_flight -= 1
        method, status = record["method"], str(record["status"])
        method = method if method in METHODS else OTHER_METHOD
        self._http_requests.of(record.get("route", UNMATCHED), method, status).inc()
        if (result := _token_check(record)) is not None:
            self._token_checks.of(result).inc()
        if "limit" in record:
            self._limit_refusals.of(record["limit"]).inc()
        if "operation" in record:
            self._count_served(record, status)
        if "stream" in record:
            self._streams_open -= 1
            self._count_stream(record)

    def late(self, late: LateAnswer) -> None:
        """Count what an engine did for a caller who had left."""
        place = (late.cluster, late.framework, late.model, late.operation)
        self._late_answers.of(*place, late.result).inc()
        if late.usage is not None:
            self._count_tokens(late.cluster, late.model, late.usage.numbers())

    def _count_served(self, record: Mapping[str, Any], status: str) -> None:
        get = record.get
        cluster, model = get("cluster", ""), get("model", "")
        served = (cluster, get("framework", ""), model, record["operation"])
        self._requests.of(*served, status, code_of(record)).inc()
        for field, hop in HOPS.items():
            if field in record:
                self._seconds.of(*served, hop).observe(record[field] / 1000)
        if "input_tokens" in record:
            self._count_tokens(cluster, model, record)
        if "wait_ms" in record and "transport" in record:
            self._cold_start.of(*served[:3]).observe(record["wait_ms"] / 1000)

    def _count_stream(self, record: Mapping[str, Any]) -> None:
        served = [record.get(field, "") for field in SERVED]
        if "ttft_ms" in record:
            self._first_event.of(*served).observe(record["ttft_ms"] / 1000)
        if code := code_of(record):
            self._streams_broken.of(*served, code).inc()

    def _count_tokens(self, cluster: str, model: str, numbers: Mapping[str, Any]) -> None:
        for field, kind in KINDS.items():
            if number := numbers.get(field):
                self._tokens.of(cluster, model, kind).inc(number)


def code_of(record: Mapping[str, Any]) -> str:
    """Return in one word why a request did not go well; empty if it did."""
    if "client" in record:
        return f"client_{record['client']}"
    return str(record.get("error_code", ""))


def _token_check(record: Mapping[str, Any]) -> str | None:
    """Return what the request's token was worth; None for a route that asks for none."""
    code = record.get("error_code")
    if code == _TOKEN_REFUSED:
        return "refused"
    if code in _TOKEN_UNCHECKED:
        return "unavailable"
    return "accepted" if "user_id" in record else None
