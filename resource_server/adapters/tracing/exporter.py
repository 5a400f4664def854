"""Sends spans to a collector in the background; one that is away costs a line in the log."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version

import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Tracer
from typing_extensions import override

log = structlog.get_logger()

#: Spans that wait for the collector at the most; further ones push out the oldest.
QUEUE_SPANS = 4096
#: Spans that are sent at once.
BATCH_SPANS = 512
#: Between two deliveries (milliseconds).
EVERY_MS = 1000
#: For how long one delivery is tried (seconds).
TIMEOUT_S = 5.0
#: A collector that stays away is mentioned this often (seconds).
MENTIONED_EVERY_S = 60.0
#: These say with every attempt what our own line says once a minute.
_NOISY = ("opentelemetry.exporter.otlp", "opentelemetry.sdk._shared_internal")


class QuietExporter(SpanExporter):
    """Delivers through another exporter, and mentions failures once in a while."""

    def __init__(self, inner: SpanExporter) -> None:
        self._inner = inner
        self._lost = 0
        self._mentioned_at: float | None = None
        self._ends_at: float | None = None

    @override
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if self._ends_at is not None and time.monotonic() > self._ends_at:
            return SpanExportResult.FAILURE
        result = self._inner.export(spans)
        if result is not SpanExportResult.SUCCESS:
            self._lost += len(spans)
            self._mention()
        return result

    @override
    def shutdown(self) -> None:
        self._inner.shutdown()

    @override
    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._inner.force_flush(timeout_millis)

    def end_within(self, seconds: float) -> None:
        """Begin no delivery after so long: the process ends."""
        self._ends_at = time.monotonic() + seconds

    def _mention(self) -> None:
        now = time.monotonic()
        if self._mentioned_at is None or now - self._mentioned_at >= MENTIONED_EVERY_S:
            self._mentioned_at = now
            log.warning("traces_not_delivered", spans_lost=self._lost)
            self._lost = 0


@asynccontextmanager
async def open_tracer(
    endpoint: str, *, headers: Mapping[str, str], sample_ratio: float
) -> AsyncIterator[Tracer]:
    """Open a tracer whose spans go to a collector's base URL, as `http://collector:4318`.

    A request that continues a caller's trace is recorded if the caller's was; of the others, the
    share of `sample_ratio`. At the end what waits is delivered, for a few seconds at the most.
    """
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    exporter = QuietExporter(
        OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", headers=headers, timeout=TIMEOUT_S)
    )
    provider = TracerProvider(
        sampler=ParentBased(TraceIdRatioBased(sample_ratio)),
        resource=Resource.create(
            {"service.name": "hotnode", "service.version": version("hotnode")}
        ),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(
        BatchSpanProcessor(
            exporter,
            max_queue_size=QUEUE_SPANS,
            max_export_batch_size=BATCH_SPANS,
            schedule_delay_millis=EVERY_MS,
        )
    )
    try:
        yield provider.get_tracer("hotnode", version("hotnode"))
    finally:
        exporter.end_within(TIMEOUT_S)
        await asyncio.to_thread(provider.shutdown)
