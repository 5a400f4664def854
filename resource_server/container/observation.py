"""What is seen of the gateway from outside: metrics, and traces where a collector is set."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from resource_server.adapters.metrics import files as metrics_files
from resource_server.adapters.metrics.instrumentation import Instrumentation
from resource_server.config import Role, Settings
from resource_server.container.background import running
from resource_server.ports import RequestObserver


@asynccontextmanager
async def open_instrumentation(settings: Settings, role: Role) -> AsyncIterator[Instrumentation]:
    """Begin to count; one process of several shares what it counts with the others."""
    if role is not Role.ALL:
        metrics_files.share(settings.state_dir / "metrics")
    instrumentation = Instrumentation(counted=settings.read_metrics_token() is not None)
    async with running(instrumentation.run, name="metrics"):
        yield instrumentation


@asynccontextmanager
async def open_tracer(settings: Settings) -> AsyncIterator[RequestObserver | None]:
    """Open what makes traces, if the settings name who takes them."""
    if not settings.otlp_endpoint:
        yield None
        return
    # Who makes no traces needs none of their libraries, and none of their memory.
    from resource_server.adapters.tracing import exporter, requests  # noqa: PLC0415 - as said

    async with exporter.open_tracer(
        settings.otlp_endpoint,
        headers=settings.read_otlp_headers(),
        sample_ratio=settings.otlp_sample_ratio,
    ) as tracer:
        yield requests.RequestTracer(tracer)
