"""Makes metrics and traces of what each request's line in the log says, where they are wanted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import structlog

from resource_server.adapters.metrics.requests import RequestMetrics
from resource_server.domain.inference import LateAnswer
from resource_server.ports import ObservedRequest, RequestObserver

log = structlog.get_logger()


class UnmeteredRequest:
    """A request that is neither counted nor traced; one stands for all."""

    __slots__ = ()
    trace_id: str | None = None

    def onward(self) -> Mapping[str, str]:
        """Return nothing: nobody joins a trace that is none."""
        return {}

    def streams(self) -> None:
        """Do nothing."""

    def end(self, record: Mapping[str, Any]) -> None:
        """Do nothing."""


class UnmeteringObserver:
    """Counts nothing; it hands every request on to `tracer` if there is one."""

    def __init__(self, tracer: RequestObserver | None = None) -> None:
        self._tracer = tracer
        self._nobody = UnmeteredRequest()

    def begin(self, headers: Iterable[tuple[bytes, bytes]]) -> ObservedRequest:
        """Return the request's trace, if there is one."""
        return self._tracer.begin(headers) if self._tracer else self._nobody

    def late(self, late: LateAnswer) -> None:
        """Log what came of a request whose caller had left."""
        _log_late(late)


class MeteredRequest:
    """A request that is counted; its trace, if it has one, is followed by another observer."""

    __slots__ = ("_metrics", "_traced")

    def __init__(self, metrics: RequestMetrics, traced: ObservedRequest | None) -> None:
        self._metrics = metrics
        self._traced = traced

    @property
    def trace_id(self) -> str | None:
        """The trace that it belongs to, if there is one."""
        return self._traced.trace_id if self._traced else None

    def onward(self) -> Mapping[str, str]:
        """Return headers for whoever works on it next, so that their spans join its trace."""
        return self._traced.onward() if self._traced else {}

    def streams(self) -> None:
        """Count it as a stream under way."""
        self._metrics.streams()
        if self._traced is not None:
            self._traced.streams()

    def end(self, record: Mapping[str, Any]) -> None:
        """Count it, and end its trace."""
        self._metrics.ended(record)
        if self._traced is not None:
            self._traced.end(record)


class MeteringObserver:
    """Counts every request, and hands it on to `tracer` if there is one."""

    def __init__(self, metrics: RequestMetrics, tracer: RequestObserver | None = None) -> None:
        self._metrics = metrics
        self._tracer = tracer

    def begin(self, headers: Iterable[tuple[bytes, bytes]]) -> MeteredRequest:
        """Count a request as under way."""
        self._metrics.begun()
        traced = self._tracer.begin(headers) if self._tracer else None
        return MeteredRequest(self._metrics, traced)

    def late(self, late: LateAnswer) -> None:
        """Log and count what came of a request whose caller had left."""
        self._metrics.late(late)
        _log_late(late)


def _log_late(late: LateAnswer) -> None:
    fields: dict[str, object] = {
        "request_id": late.request_id,
        "cluster": late.cluster,
        "framework": late.framework,
        "model": late.model,
        "operation": late.operation,
        "result": late.result,
    }
    if late.answer is not None:
        fields["status"] = late.answer.status
        fields["transport"] = late.answer.transport
        if late.answer.task_id:
            fields["globus_task_id"] = late.answer.task_id
    if late.usage is not None:
        fields |= late.usage.numbers()
    log.info("late_answer", **fields)
