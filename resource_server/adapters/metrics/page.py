"""The page that Prometheus reads, of one process or of all that serve together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path

from prometheus_client import CollectorRegistry, Metric, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from typing_extensions import override

from resource_server.adapters.metrics import files
from resource_server.domain.metrics import Page

#: A page takes less; many processes with many models take the longest.
TIMEOUT_S = 20.0


class PrometheusPage:
    """Renders all metrics; `sample` brings the gauges of this process up to date first."""

    def __init__(
        self, registry: CollectorRegistry, *, shared: Path | None, sample: Callable[[], None]
    ) -> None:
        if shared is None:
            ProcessCollector(registry=registry)
        self._registry = registry if shared is None else _together(shared)
        self._sample = sample

    async def render(self, accept: str) -> Page:
        """Return the page in the form that the reader asks for, or the plain one."""
        self._sample()
        encode, content_type = choose_encoder(accept)
        async with asyncio.timeout(TIMEOUT_S):
            # It takes milliseconds for each thousand series, and reads files.
            content = await asyncio.to_thread(encode, self._registry)
        return Page(content=content, content_type=content_type)


def _together(directory: Path) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(_AllProcesses(directory))
    return registry


class _AllProcesses(Collector):
    """Adds up what all processes wrote."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @override
    def collect(self) -> Iterable[Metric]:
        with files.reading(self._directory) as paths:
            # The library leaves this function without types.
            merged: Iterable[Metric] = MultiProcessCollector.merge(paths)  # type: ignore[no-untyped-call]
        return merged
