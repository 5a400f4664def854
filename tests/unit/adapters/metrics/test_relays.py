from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from resource_server.adapters.metrics.instruments import Instruments
from resource_server.adapters.metrics.relays import look_at_relays
from resource_server.adapters.relay.traffic import LinkState, PlaceHealth, Traffic
from resource_server.domain.catalog import Catalog
from tests.support.catalogs import cluster, model
from tests.support.watch import Scrape

PLACE = {"cluster": "local", "framework": "vllm", "model": "a/b"}


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def catalog() -> Catalog:
    return Catalog([cluster("local")], [model("a/b")])


def health(model_: str = "a/b", **traffic: int) -> PlaceHealth:
    return PlaceHealth(
        place=("local", "vllm", model_),
        links={LinkState.READY: 2, LinkState.PARKED: 1},
        requests=7,
        traffic=Traffic(**traffic),
    )


def shown(registry: CollectorRegistry) -> Scrape:
    return Scrape(generate_latest(registry).decode())


def test_links_and_what_goes_over_them_are_shown(registry):
    seen = [health(to_site=10, from_site=100, resumes=1)]
    look = look_at_relays(Instruments(registry), lambda: seen, catalog)
    look()
    seen[0] = health(to_site=15, from_site=100, resumes=1, interrupted=3)
    look()
    page = shown(registry)
    assert page.value("hotnode_relay_links", **PLACE, state="ready") == 2
    assert page.value("hotnode_relay_links", **PLACE, state="parked") == 1
    assert page.value("hotnode_relay_links", **PLACE, state="draining") == 0
    assert page.value("hotnode_relay_requests", **PLACE) == 7
    assert page.value("hotnode_relay_bytes_total", **PLACE, direction="to_site") == 15
    assert page.value("hotnode_relay_bytes_total", **PLACE, direction="from_site") == 100
    assert page.value("hotnode_relay_resumes_total", **PLACE) == 1
    assert page.value("hotnode_relay_interrupted_total", **PLACE) == 3


def test_what_only_a_site_names_is_no_label(registry):
    seen = [health(f"invented/{n}", from_site=5) for n in range(3)]
    look_at_relays(Instruments(registry), lambda: seen, catalog)()
    page = shown(registry)
    unlisted = {"cluster": "local", "framework": "_unlisted", "model": "_unlisted"}
    assert page.value("hotnode_relay_links", **unlisted, state="ready") == 6
    assert page.value("hotnode_relay_bytes_total", **unlisted, direction="from_site") == 15
    assert "invented" not in generate_latest(registry).decode()
