"""Brings the gauges about the state of this process up to date; it asks nobody outside of it."""

from __future__ import annotations

import asyncio
import math
import platform
from collections import Counter as Numbers
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version

from compute_functions.contract import InstanceState
from resource_server.adapters.globus_compute.channel import ChannelHealth
from resource_server.adapters.globus_compute.results import Link
from resource_server.adapters.metrics import files
from resource_server.adapters.metrics.instruments import Instruments
from resource_server.domain.catalog import Catalog, Cluster
from resource_server.domain.lifecycle import Observation, gpu_percent, instances_at
from resource_server.ports import SiteObserver
from resource_server.services.catalog import LiveCatalog

#: Between two looks (seconds): what another process shows of this one is so old at the most.
EVERY_S = 5.0
Look = Callable[[], None]


class Sampler:
    """Takes every look at once, and again and again: another process may show the metrics."""

    def __init__(self, instruments: Instruments) -> None:
        self._looks: list[Look] = []
        instruments.build.labels(version("hotnode"), platform.python_version()).set(1)

    def add(self, look: Look) -> None:
        """Take this look, too, from now on."""
        self._looks.append(look)

    def sample(self) -> None:
        """Set every gauge to what is the case now."""
        for look in self._looks:
            look()
        files.show_life()

    async def run(self, *, every_s: float = EVERY_S) -> None:
        """Sample for ever."""
        while True:
            self.sample()
            await asyncio.sleep(every_s)


def look_at_channels(
    instruments: Instruments, health: Callable[[], Iterable[ChannelHealth]]
) -> Look:
    """Return a look at how the channels to Globus Compute fare."""

    def look() -> None:
        for channel in health():
            _show_channel(instruments, channel)

    return look


def _show_channel(instruments: Instruments, channel: ChannelHealth) -> None:
    client = channel.client
    instruments.globus_queue.labels(client).set(channel.queued)
    instruments.globus_tasks.labels(client).set(channel.running)
    instruments.globus_trouble.labels(client).set(1 if channel.trouble else 0)
    for link in Link:
        instruments.globus_link.labels(client, link).set(1 if link is channel.link else 0)
    for budget in channel.budgets:
        instruments.globus_budget.labels(client, budget.purpose).set(budget.available)
        instruments.globus_wait.labels(client, budget.purpose).set(budget.wait_s)


def look_at_catalog(instruments: Instruments, catalog: LiveCatalog) -> Look:
    """Return a look at which catalog is in use."""

    def look() -> None:
        instruments.catalog_version.set(catalog.current().version)
        instruments.catalog_checked.set(catalog.checked_at)

    return look


class WatchedSites:
    """Observes sites through `sites`, and shows what they last reported."""

    def __init__(
        self, sites: SiteObserver, instruments: Instruments, catalog: Callable[[], Catalog]
    ) -> None:
        self._sites = sites
        self._all = instruments
        self._catalog = catalog
        self._shown: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)

    async def observe(self, cluster: Cluster) -> Observation:
        """Return what the site sees now; see the port."""
        observation = await self._sites.observe(cluster)
        self._show(cluster.name, observation)
        return observation

    def _show(self, cluster: str, observation: Observation) -> None:
        self._all.site_observed.labels(cluster).set(observation.observed_at)
        # Also places that were in the catalog before: they have no instances any more.
        self._shown[cluster] |= set(places_at(self._catalog(), cluster))
        show_instances(self._all, cluster, observation, self._shown[cluster])


def show_instances(
    instruments: Instruments,
    cluster: str,
    observation: Observation,
    posts: Iterable[tuple[str, str]],
) -> None:
    """Show how many instances there are of each framework and model, and how busy their GPUs."""
    found = Numbers((i.framework, i.model, i.state) for i in observation.instances)
    alone = Numbers((i.framework, i.model, i.state) for i in observation.for_batches)
    for framework, model in posts:
        for state in InstanceState:
            place = (cluster, framework, model, state)
            instruments.instances.labels(*place).set(found[framework, model, state])
            instruments.batch_instances.labels(*place).set(alone[framework, model, state])
        busy = gpu_percent(instances_at(observation, (framework, model)))
        instruments.gpu_percent.labels(cluster, framework, model).set(
            math.nan if busy is None else busy
        )


def places_at(catalog: Catalog, cluster: str) -> Iterator[tuple[str, str]]:
    """Yield the framework and the model of each place there; a site may name anything else."""
    for model in catalog.models.values():
        for place in model.deployments:
            if place.cluster == cluster:
                yield place.framework, model.id
