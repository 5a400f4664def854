from __future__ import annotations

import math
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from compute_functions.contract import Instance, InstanceState
from resource_server.adapters.globus_compute.budget import Budgets
from resource_server.adapters.globus_compute.channel import ChannelHealth
from resource_server.adapters.globus_compute.results import Link
from resource_server.adapters.metrics.instruments import Instruments
from resource_server.adapters.metrics.samples import Sampler, WatchedSites, look_at_channels
from resource_server.domain.catalog import Catalog
from tests.support.catalogs import cluster, model
from tests.support.gateway import SiteThatReports
from tests.support.watch import Scrape


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def instruments(registry: CollectorRegistry) -> Instruments:
    return Instruments(registry)


def shown(registry: CollectorRegistry) -> Scrape:
    return Scrape(generate_latest(registry).decode())


def instance(name: str, state: InstanceState) -> Instance:
    return Instance(model=name, framework="vllm", state=state, job_id="1", host="n", started_at=0.0)


def test_a_channel_shows_its_queue_its_budgets_and_its_link(instruments, registry):
    now = [0.0]
    budgets = Budgets.within(20, clock=lambda: now[0])
    budgets.inquiries.pause(7.0)
    sampler = Sampler(instruments)
    sampler.add(
        look_at_channels(
            instruments,
            lambda: [
                ChannelHealth(
                    client="c",
                    link=Link.CONNECTED,
                    queued=3,
                    running=4,
                    trouble="refused",
                    budgets=budgets.state(),
                )
            ],
        )
    )
    sampler.sample()
    page = shown(registry)
    assert page.value("hotnode_globus_queue", client="c") == 3
    assert page.value("hotnode_globus_tasks_running", client="c") == 4
    assert page.value("hotnode_globus_submission_failing", client="c") == 1
    assert page.value("hotnode_globus_link", state="connected") == 1
    assert page.value("hotnode_globus_link", state="idle") == 0
    assert page.value("hotnode_globus_budget_requests", purpose="submission") == 2
    assert page.value("hotnode_globus_budget_wait_seconds", purpose="submission") == 0
    assert page.value("hotnode_globus_budget_requests", purpose="inquiry") == 0
    assert page.value("hotnode_globus_budget_wait_seconds", purpose="inquiry") == 7
    assert page.value("hotnode_build_info") == 1


async def test_instances_are_those_of_the_last_report_and_of_models_in_the_catalog(
    instruments, registry
):
    catalog = Catalog([cluster()], [model("a"), model("b")])
    reports = SiteThatReports(
        [
            instance("a", InstanceState.READY),
            instance("a", InstanceState.READY),
            *(instance(f"hostile-{n}", InstanceState.READY) for n in range(1000)),
        ]
    )
    sites = WatchedSites(reports, instruments, lambda: catalog)
    await sites.observe(cluster())
    page = shown(registry)
    assert page.value("hotnode_model_instances", model="a", state="ready") == 2
    assert page.value("hotnode_model_instances", model="b", state="ready") == 0
    assert {labels["model"] for labels, _ in page.series("hotnode_model_instances")} == {"a", "b"}
    assert page.value("hotnode_site_observed_timestamp_seconds", cluster="local") > 0
    assert math.isnan(page.value("hotnode_model_gpu_percent", model="a"))
    reports.instances = (
        replace(instance("a", InstanceState.READY), gpus=3, gpu_percent=90.0),
        replace(instance("a", InstanceState.READY), gpus=1, gpu_percent=10.0),
        instance("a", InstanceState.STARTING),
    )
    await sites.observe(cluster())
    assert shown(registry).value("hotnode_model_gpu_percent", model="a") == 70.0
    catalog = Catalog([cluster()], [model("b")])
    reports.instances = ()
    await sites.observe(cluster())
    assert shown(registry).value("hotnode_model_instances", model="a", state="ready") == 0
