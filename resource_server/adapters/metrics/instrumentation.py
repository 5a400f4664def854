"""The metrics of one process, and what puts its parts under observation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry

from resource_server.adapters.globus_compute.channel import ChannelHealth
from resource_server.adapters.metrics import files
from resource_server.adapters.metrics.batches import BatchMetrics
from resource_server.adapters.metrics.board import look_at_board
from resource_server.adapters.metrics.instruments import Instruments
from resource_server.adapters.metrics.introspections import MeasuredProvider
from resource_server.adapters.metrics.observer import MeteringObserver, UnmeteringObserver
from resource_server.adapters.metrics.page import PrometheusPage
from resource_server.adapters.metrics.pushes import look_at_pushes
from resource_server.adapters.metrics.relays import look_at_relays
from resource_server.adapters.metrics.requests import RequestMetrics
from resource_server.adapters.metrics.samples import (
    Sampler,
    WatchedSites,
    look_at_catalog,
    look_at_channels,
)
from resource_server.adapters.pushed_streams.traffic import PushTraffic
from resource_server.adapters.relay.traffic import PlaceHealth
from resource_server.batch_ports import BatchObserver
from resource_server.domain.catalog import Catalog
from resource_server.ports import IdentityProvider, RequestObserver, SiteObserver
from resource_server.services.catalog import LiveCatalog
from resource_server.services.metrics import Metrics
from resource_server.services.site_board import SiteBoard


class Instrumentation:
    """Counts, times and samples. Where several processes share their files, `files.share` first.

    Where nobody may read the metrics, requests need not be `counted`.
    """

    def __init__(self, *, counted: bool = True) -> None:
        self._counted = counted
        self._instruments = Instruments(CollectorRegistry())
        self._sampler = Sampler(self._instruments)

    def observer(self, tracer: RequestObserver | None = None) -> RequestObserver:
        """Return who counts requests, and hands them on to `tracer`."""
        if not self._counted:
            return UnmeteringObserver(tracer)
        metrics = RequestMetrics(self._instruments)
        self._sampler.add(metrics.show_in_flight)
        return MeteringObserver(metrics, tracer)

    def provider(self, provider: IdentityProvider) -> IdentityProvider:
        """Return the identity provider, timed."""
        return MeasuredProvider(provider, self._instruments.introspection)

    def sites(self, sites: SiteObserver, catalog: Callable[[], Catalog]) -> SiteObserver:
        """Return the observer of sites, whose reports are shown."""
        return WatchedSites(sites, self._instruments, catalog)

    def batches(self) -> BatchObserver:
        """Return who counts batches."""
        return BatchMetrics(self._instruments)

    def watch_catalog(self, catalog: LiveCatalog) -> None:
        """Show which catalog is in use."""
        self._sampler.add(look_at_catalog(self._instruments, catalog))

    def watch_channels(self, health: Callable[[], Iterable[ChannelHealth]]) -> None:
        """Show how the channels to Globus Compute fare."""
        self._sampler.add(look_at_channels(self._instruments, health))

    def watch_board(self, board: SiteBoard) -> None:
        """Show who waits, which agents are linked, and how old what they said is."""
        self._sampler.add(look_at_board(self._instruments, board))

    def watch_relays(
        self, health: Callable[[], Iterable[PlaceHealth]], catalog: Callable[[], Catalog]
    ) -> None:
        """Show how the links of relays fare."""
        self._sampler.add(look_at_relays(self._instruments, health, catalog))

    def watch_pushes(self, traffic: Callable[[], Mapping[str, PushTraffic]]) -> None:
        """Show what sites push."""
        self._sampler.add(look_at_pushes(self._instruments, traffic))

    def metrics(self, token: str | None) -> Metrics | None:
        """Return the page of metrics, if there is a token to read it with."""
        if token is None:
            return None
        page = PrometheusPage(
            self._instruments.registry,
            shared=files.shared_directory(),
            sample=self._sampler.sample,
        )
        return Metrics(page, token=token)

    async def run(self) -> None:
        """Keep what other processes show of this one up to date, for ever."""
        await self._sampler.run()
