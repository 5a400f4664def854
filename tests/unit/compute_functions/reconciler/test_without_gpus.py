"""Models that ask for no GPU, beside others and on a cluster that has none at all."""

from __future__ import annotations

from dataclasses import replace

from compute_functions.contract.lifecycle import DesiredModel, ModelDemand
from compute_functions.drivers.driver import Capacity
from compute_functions.reconciler import ModelKey, Policy, decide
from tests.support.simulated_site import SimulatedNode, SimulatedSite
from tests.support.site_views import capacity, model, outlook, ready, submits, view
from tests.support.watched_site import WatchedSite

HOT, ONE, OTHER = (ModelKey(name, "infinity") for name in ("hot", "one", "other"))


def desired(key: ModelKey, least: int, *, walltime_s: float = 3600.0) -> DesiredModel:
    return DesiredModel(
        model=key.model,
        framework=key.framework,
        min=least,
        max=1,
        gpus=0,
        walltime_s=walltime_s,
        walltime_ratio=0.9,
        idle_timeout_s=600.0,
    )


def site(*models: DesiredModel, jobs: int | None = None) -> WatchedSite:
    keyed = {ModelKey.of(one): one for one in models}
    return WatchedSite(
        site=SimulatedSite(
            policy=Policy(gpus=0, instance_gpus=0, jobs=jobs, last_s=12.0, settle_s=5.0),
            nodes={name: SimulatedNode(name=name, gpus=0) for name in ("n0", "n1")},
            load_s={key.model: 10.0 for key in keyed},
            desired=keyed,
        )
    )


def wants(watched: WatchedSite, key: ModelKey, *, waiting: int = 1, used_s: float = 0.0) -> None:
    watched.site.demand[key] = ModelDemand(
        model=key.model, framework=key.framework, waiting=waiting, used_s=used_s
    )


def test_a_hot_one_is_there_and_rolls_over_without_a_gap():
    watched = site(desired(HOT, 1, walltime_s=300.0), jobs=2)
    watched.run(30)
    for _ in range(900):
        watched.run(1)
        assert watched.site.serving(HOT)
    assert watched.site.submitted > 3
    assert {job.gpus for job in watched.site.jobs.values()} == {0}


def test_the_limit_of_jobs_is_what_makes_an_idle_one_yield():
    watched = site(desired(HOT, 1), desired(ONE, 0), desired(OTHER, 0), jobs=2)
    wants(watched, ONE)
    watched.run(60)
    assert watched.site.serving(ONE)
    wants(watched, ONE, waiting=0, used_s=60.0)
    wants(watched, OTHER)
    watched.run(60)
    assert watched.site.serving(OTHER)
    assert watched.site.serving(HOT)
    assert not watched.site.of(ONE)


def test_full_gpus_are_nothing_to_one_that_asks_for_none():
    seen = view(
        [model("gpus", min=1), model("none", gpus=0, min=1)],
        policy=Policy(gpus=1),
        capacity=capacity(4, 0),
    )
    assert {one.key.model for one in submits(decide(seen))} == {"gpus", "none"}
    # Also where the policy has shrunk below what runs.
    over = view(
        [model(gpus=4), model("none", gpus=0)],
        ready("m-1", gpus=4),
        policy=Policy(gpus=2, instance_gpus=4),
        capacity=capacity(4, 0),
    )
    assert {one.key.model for one in submits(decide(over))} == {"none"}


def test_without_a_node_that_is_up_it_is_refused_like_others():
    there = Capacity(gpus=0, free_gpus=0, nodes=("a",))
    seen = view([model(gpus=0, min=1)], capacity=there)
    assert len(submits(decide(seen))) == 1
    for lost in (replace(there, nodes=()), replace(there, down=frozenset({"a"}))):
        decision = decide(replace(seen, capacity=lost))
        assert not submits(decision)
        assert "node" in outlook(decision).refused
