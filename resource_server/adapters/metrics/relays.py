"""Shows how the links of sites' relays fare, and what goes over them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import Counter

from resource_server.adapters.metrics.instruments import Instruments
from resource_server.adapters.metrics.samples import Look
from resource_server.adapters.metrics.totals import Totals
from resource_server.adapters.relay.traffic import LinkState, Place, PlaceHealth
from resource_server.domain.catalog import Catalog

#: The model and the framework of links for what the catalog does not have: sites name these.
UNLISTED = "_unlisted"


def look_at_relays(
    instruments: Instruments,
    health: Callable[[], Iterable[PlaceHealth]],
    catalog: Callable[[], Catalog],
) -> Look:
    """Return a look at the links."""
    totals = Totals()

    def look() -> None:
        links: dict[tuple[str, str, str, LinkState], int] = {}
        requests: dict[Place, int] = {}
        for one in health():
            place = _listed(one.place, catalog())
            requests[place] = requests.get(place, 0) + one.requests
            for state in LinkState:
                key = (*place, state)
                links[key] = links.get(key, 0) + one.links.get(state, 0)
            for counter, labels, value in _counted(instruments, place, one):
                totals.bring(counter, labels, value, of=one.place)
        for labels, number in links.items():
            instruments.relay_links.labels(*labels).set(number)
        for place, number in requests.items():
            instruments.relay_requests.labels(*place).set(number)

    return look


def _listed(place: Place, catalog: Catalog) -> Place:
    """Return the place as labels: only what the catalog knows is one."""
    cluster, framework, model = place
    known = catalog.clusters.get(cluster)
    if known is None or framework not in known.frameworks or model not in catalog.models:
        return (cluster if known else UNLISTED, UNLISTED, UNLISTED)
    return place


def _counted(
    all_: Instruments, place: Place, health: PlaceHealth
) -> Iterator[tuple[Counter, tuple[str, ...], int]]:
    traffic = health.traffic
    yield all_.relay_bytes, (*place, "to_site"), traffic.to_site
    yield all_.relay_bytes, (*place, "from_site"), traffic.from_site
    yield all_.relay_resumes, place, traffic.resumes
    yield all_.relay_interrupted, place, traffic.interrupted
