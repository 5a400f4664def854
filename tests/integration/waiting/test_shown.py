"""How models and jobs are shown: from what is known, without asking a site."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime

import pytest

from compute_functions.contract import FOR_BATCHES, InstanceState, ModelOutlook, Stage
from tests.support.eventually import eventually_so
from tests.support.relay_site import FRAMEWORK, MODEL
from tests.support.site_links import instance
from tests.support.waiting_gateway import Waited

OUTLOOK = ModelOutlook(model=MODEL, framework=FRAMEWORK, queue_s=60.0, load_s=40.0)
PLACE = ("local", FRAMEWORK, MODEL)


async def jobs(gateway: Waited) -> dict:
    async with gateway.client.get("/resource_server/local/jobs") as response:
        assert response.status == 200
        return dict(await response.json())


def dated(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


async def jobs_once(gateway: Waited, **lengths: int) -> dict:
    """Return the jobs as soon as there are so many in each list."""
    found: list[dict] = []

    async def is_so() -> bool:
        found.append(await jobs(gateway))
        return all(len(found[-1][name]) == length for name, length in lengths.items())

    await eventually_so(is_so)
    return found[-1]


@pytest.mark.row("A-14", "A-52", "C-5", "C-6", "C-7", "C-8", "C-34", "L-13", "L-15", "L-16")
async def test_the_list_of_models_follows_what_the_agent_says(gateway: Waited):
    async with gateway.agent() as agent:
        idle = await gateway.seen_as("idle")
        assert idle["status"] == {"value": "sleeping"}
        assert idle["context_length"] == 2048
        assert idle["flags"] == ["T"]
        await agent.observes(instance(InstanceState.QUEUED, ahead=1), outlooks=[OUTLOOK])
        queued = await gateway.seen_as("queued")
        assert queued["status"] == {"value": "loading"}
        assert 90 <= queued["estimated_wait_s"] <= 100
        (place,) = queued["places"]
        assert place["queue_position"] == 2
        assert (place["cluster"], place["framework"]) == ("local", FRAMEWORK)
        assert abs(place["observed_at"] - time.time()) < 20
        assert place["silent"] is False
        await agent.observes(instance(InstanceState.STARTING, stage=Stage.ENGINE))
        starting = await gateway.seen_as("starting")
        assert starting["places"][0]["stage"] == "engine"
        await agent.observes(instance(waiting=2.0))
        assert (await gateway.seen_as("busy"))["status"] == {"value": "loaded"}
        await agent.observes(instance())
        ready = await gateway.seen_as("ready")
        assert (ready["waiting_requests"], ready["running_requests"]) == (0, 0)
        gateway.hub.board.demand.began(PLACE)

        async def runs() -> bool:
            return bool((await gateway.model())["running_requests"] == 1)

        await eventually_so(runs)
        async with gateway.client.get(f"/v1/models/{MODEL}") as response:
            one = await response.json()
        async with gateway.client.get("/resource_server/local/models") as response:
            (listed,) = await response.json()
        assert one["state"] == listed["state"] == "ready"


async def test_of_a_site_that_never_spoke_nothing_is_said(gateway: Waited):
    found = await gateway.model()
    assert found["state"] is None
    assert "status" not in found
    assert found["places"][0]["state"] == "unknown"


async def test_when_the_link_is_gone_the_last_observation_stays(gateway: Waited):
    async with gateway.agent() as agent:
        await agent.observes(instance(InstanceState.STARTING))
        seen = await gateway.seen_as("starting")
    again = await gateway.model()
    assert again["state"] == "starting"
    assert again["places"][0]["observed_at"] >= seen["places"][0]["observed_at"]


@pytest.mark.row("C-5", "C-6", "C-7", "C-27", "C-67", "L-14", "L-15", "L-16")
async def test_jobs_say_where_when_and_how_far(gateway: Waited):
    now = time.time()
    async with gateway.agent() as agent:
        await agent.observes(
            replace(
                instance(waiting=1.0),
                running=4.0,
                gpu_percent=87.25,
                ends_at=now + 600,
                ready_at=now - 60,
            ),
            instance(InstanceState.STARTING, job_id="8", stage=Stage.WEIGHTS, ready_at=now + 30),
            replace(
                instance(
                    InstanceState.QUEUED,
                    job_id="9",
                    ahead=2,
                    reason="Resources",
                    ready_at=now + 100,
                ),
            ),
            instance(InstanceState.FAILED, job_id="10"),
            outlooks=[OUTLOOK],
        )
        found = await jobs_once(gateway, running=2, queued=1, stopped=1)
        ready, starting = found["running"]
        assert (ready["Model State"], ready["Host Name"], ready["Walltime"]) == (
            "Live",
            "n1",
            "01:00:00",
        )
        assert (ready["Requests Running"], ready["Requests Waiting"]) == (4.0, 1.0)
        assert (ready["GPUs"], ready["Nodes Reserved"]) == (4, 1)
        assert ready["GPU Utilization"] == 87.2
        assert "GPU Utilization" not in starting
        (place,) = (await gateway.model())["places"]
        assert place["gpu_utilization"] == 87.2
        assert dated(ready["Started At"]) == pytest.approx(now, abs=10)
        assert dated(ready["Ends At"]) == pytest.approx(now + 600, abs=10)
        assert "Estimated Ready Time" not in ready
        assert (starting["Model State"], starting["Stage"]) == ("Starting", "weights")
        (queued,) = found["queued"]
        assert (queued["Model State"], queued["Queue Position"]) == ("Queued", 3)
        assert queued["Queue Reason"] == "Resources"
        assert queued["Estimated Start Time"] < queued["Estimated Ready Time"]
        status = found["cluster_status"]
        assert (status["agent"], status["silent"]) == ("linked", False)
        (shown,) = status["models"]
        assert (shown["Models"], shown["Model State"]) == (MODEL, "Live")


@pytest.mark.row("C-5", "C-8", "C-27")
async def test_what_runs_for_batches_alone_makes_no_model_ready(gateway: Waited):
    alone = [
        replace(instance(state, job_id=str(number)), purpose=FOR_BATCHES)
        for number, state in enumerate((InstanceState.READY, InstanceState.QUEUED), start=20)
    ]
    async with gateway.agent() as agent:
        await agent.observes(*alone, outlooks=[OUTLOOK])
        found = await jobs_once(gateway, private_batch_running=1, private_batch_queued=1)
        assert (found["running"], found["queued"]) == ([], [])
        (ours,) = found["private_batch_running"]
        assert (ours["Models"], ours["Job ID"], ours["Model Status"]) == (MODEL, "20", "ready")
        (shown,) = found["cluster_status"]["models"]
        assert (shown["Model State"], shown["Estimated Wait"]) == ("Offline", 100)
        assert (await gateway.model())["state"] == "idle"
        page = await gateway.metrics()
        place = {"cluster": "local", "framework": FRAMEWORK, "model": MODEL, "state": "ready"}
        assert page.value("hotnode_model_instances", **place) == 0
        assert page.value("hotnode_model_batch_instances", **place) == 1
        await agent.observes(*alone, instance(InstanceState.STARTING))
        await gateway.seen_as("starting")


async def test_jobs_show_who_waits_for_a_model_without_an_instance(gateway: Waited):
    async with gateway.agent():
        with gateway.hub.board.waiting(PLACE):

            async def is_so() -> bool:
                (shown,) = (await jobs(gateway))["cluster_status"]["models"]
                return (shown["Model State"], shown["Requests Waiting"]) == ("Offline", 1)

            await eventually_so(is_so)


async def test_metrics_show_links_waiters_and_instances_without_a_question(gateway: Waited):
    place = {"cluster": "local", "framework": FRAMEWORK, "model": MODEL}

    async def shows(name: str, number: float, **labels: str) -> None:
        async def is_so() -> bool:
            return (await gateway.metrics()).value(name, **labels) == number

        await eventually_so(is_so)

    async with gateway.agent() as agent:
        await shows("hotnode_agent_links", 1, cluster="local")
        with gateway.hub.board.waiting(PLACE):
            await shows("hotnode_waiting_requests", 1, **place)
        await shows("hotnode_waiting_requests", 0, **place)
        await agent.observes(instance(InstanceState.QUEUED))
        await shows("hotnode_model_instances", 1, **place, state="queued")
    await shows("hotnode_agent_links", 0, cluster="local")
