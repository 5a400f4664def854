"""An OpenTelemetry collector for tests: it takes spans over HTTP, or says that it cannot."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedSpan:
    """One span as it came over the wire; times are nanoseconds since the epoch."""

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    started_at: int
    ended_at: int
    failed: bool
    attributes: dict[str, object]

    @property
    def milliseconds(self) -> float:
        """How long it took."""
        return (self.ended_at - self.started_at) / 1e6

    @classmethod
    def of(cls, span: Span) -> ReceivedSpan:
        """Read it from its protocol buffer."""
        return cls(
            name=span.name,
            kind=Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
            trace_id=span.trace_id.hex(),
            span_id=span.span_id.hex(),
            parent_id=span.parent_span_id.hex(),
            started_at=span.start_time_unix_nano,
            ended_at=span.end_time_unix_nano,
            failed=span.status.code == span.status.STATUS_CODE_ERROR,
            attributes=_plain(span.attributes),
        )


@dataclass(slots=True)
class Collector:
    """What arrived so far. `status` is what it answers."""

    url: str = ""
    status: int = 200
    spans: list[ReceivedSpan] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    resource: dict[str, object] = field(default_factory=dict)
    grown: asyncio.Event = field(default_factory=asyncio.Event)

    async def one(self, name: str) -> ReceivedSpan:
        """Wait for the one span of this name."""
        async with asyncio.timeout(20):
            while not (found := [span for span in self.spans if span.name == name]):
                self.grown.clear()
                await self.grown.wait()
        assert len(found) == 1
        return found[0]

    async def take(self, request: web.Request) -> web.Response:
        """Take a delivery."""
        body = await request.read()
        if request.headers.get("Content-Encoding") == "gzip" and body[:2] == b"\x1f\x8b":
            body = gzip.decompress(body)
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        if self.status == 200:
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                self.resource = _plain(resource.resource.attributes)
                for scope in resource.scope_spans:
                    self.spans += [ReceivedSpan.of(span) for span in scope.spans]
        self.grown.set()
        return web.Response(status=self.status, content_type="application/x-protobuf")


@asynccontextmanager
async def collector() -> AsyncIterator[Collector]:
    """Serve one on the loopback."""
    taken = Collector()
    application = web.Application()
    application.router.add_post("/v1/traces", taken.take)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        taken.url = f"http://127.0.0.1:{port}"
        yield taken
    finally:
        await runner.cleanup()


def _plain(attributes: Iterable[KeyValue]) -> dict[str, object]:
    return {attribute.key: _value(attribute.value) for attribute in attributes}


def _value(value: AnyValue) -> object:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    return getattr(value, kind) if kind else None
