"""A model that takes a whole node, among small ones that are spread over all of them."""

from __future__ import annotations

import pytest

from compute_functions.contract.lifecycle import DesiredModel, ModelDemand
from compute_functions.reconciler import ModelKey, Policy
from tests.support.simulated_site import SimulatedNode, SimulatedSite
from tests.support.watched_site import WatchedSite

pytestmark = pytest.mark.row("C-37", "C-60")

LARGE = ModelKey("large", "vllm")
GPUS = 8
SMALL = [ModelKey(f"s{number}", "vllm") for number in range(4)]


def on_demand(key: ModelKey, gpus: int) -> DesiredModel:
    return DesiredModel(
        model=key.model,
        framework=key.framework,
        min=0,
        max=1,
        gpus=gpus,
        walltime_s=7200.0,
        walltime_ratio=0.9,
        idle_timeout_s=3600.0,
    )


def spread() -> WatchedSite:
    """Return a site of two nodes of which each has two small models, all used a while ago."""
    models = {key: on_demand(key, 1) for key in SMALL} | {LARGE: on_demand(LARGE, GPUS)}
    site = SimulatedSite(
        policy=Policy(),
        nodes={name: SimulatedNode(name=name, gpus=GPUS) for name in ("n0", "n1")},
        load_s={key.model: 20.0 for key in models},
        desired=models,
    )
    watched = WatchedSite(site=site)
    for at, key in enumerate(SMALL):
        # Somebody else's job has the other node for a while.
        site.foreign = {f"n{at % 2}": GPUS}
        wants(site, key)
        watched.run(30)
        uses(site, key, 1.0)
    site.foreign = {}
    watched.run(60)
    assert sorted(len(site.on(name)) for name in site.nodes) == [2, 2]
    return watched


def wants(site: SimulatedSite, key: ModelKey) -> None:
    site.demand[key] = ModelDemand(model=key.model, framework=key.framework, waiting=1, used_s=0.0)


def uses(site: SimulatedSite, key: ModelKey, used_s: float) -> None:
    site.demand[key] = ModelDemand(model=key.model, framework=key.framework, used_s=used_s)


def test_idle_ones_make_a_whole_node_free_and_no_more_than_that_takes():
    watched = spread()
    site = watched.site
    for key in SMALL:
        uses(site, key, 300.0)
    wants(site, LARGE)
    watched.run(300)

    (job,) = site.serving(LARGE)
    assert job.gpus == GPUS
    assert [one.instance for one in site.on(job.node)] == [job.instance]
    others = [key for key in SMALL if site.serving(key)]
    assert others, "all small ones went for one node"


def test_one_that_works_holds_its_node_and_the_other_is_freed():
    watched = spread()
    site = watched.site
    (busy,) = site.serving(SMALL[0])
    busy.busy_until.append(site.now + 2000)
    for key in SMALL[1:]:
        uses(site, key, 300.0)
    wants(site, LARGE)
    watched.run(400)

    (job,) = site.serving(LARGE)
    assert job.node != busy.node
    assert busy.serves


def test_a_hot_one_rolls_over_from_node_to_node():
    hot = DesiredModel(
        model=LARGE.model,
        framework=LARGE.framework,
        min=1,
        max=1,
        gpus=GPUS,
        walltime_s=600.0,
        walltime_ratio=0.9,
        idle_timeout_s=600.0,
    )
    site = SimulatedSite(
        policy=Policy(last_s=12.0, settle_s=5.0),
        nodes={name: SimulatedNode(name=name, gpus=GPUS) for name in ("n0", "n1")},
        load_s={LARGE.model: 60.0},
        desired={LARGE: hot},
    )
    watched = WatchedSite(site=site)
    watched.run(90)
    nodes = set()
    for _ in range(1500):
        watched.run(1)
        serving = site.serving(LARGE)
        assert serving
        nodes |= {one.node for one in serving}
    assert nodes == {"n0", "n1"}
