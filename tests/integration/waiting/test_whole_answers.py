"""An answer in one piece whose model has to be started: held, then given, or an honest 503."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from compute_functions.contract import InstanceState, ModelOutlook
from resource_server.domain.catalog import Catalog
from resource_server.domain.upkeep import Override
from resource_server.services.waiting import WaitRules
from tests.support.eventually import eventually_so
from tests.support.relay_site import FRAMEWORK, MODEL
from tests.support.site_links import instance
from tests.support.waiting_gateway import Waited, waiting_gateway

BODY: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}]}


async def ask(
    gateway: Waited,
    person: str = "alice",
    *,
    stream: bool = False,
    text: str = "Hi",
    wait: str | None = None,
):
    client = gateway.clients[person]
    body = BODY | {"messages": [{"role": "user", "content": text}]}
    body |= {"stream": True} if stream else {}
    headers = None if wait is None else {"x-hotnode-wait": wait}
    async with client.post("/v1/chat/completions", json=body, headers=headers) as response:
        return response.status, dict(response.headers), await response.json()


@pytest.mark.row("A-2", "C-55", "C-60")
async def test_it_is_held_until_the_model_is_ready(gateway: Waited):
    async with gateway.agent() as agent:
        asked = asyncio.create_task(ask(gateway))
        await agent.until_wanted(1)
        await agent.observes(instance(InstanceState.STARTING))
        await gateway.seen_as("starting")
        assert not asked.done()
        await gateway.load(agent)
        status, _, answer = await asked
        assert (status, answer["choices"][0]["message"]["content"]) == (200, "Oslo")
        await agent.until_wanted(0)
    assert gateway.lines()[0]["wait_ms"] > 0


@pytest.mark.row("C-67")
async def test_after_its_time_it_is_a_503_that_says_when_to_come_again(gateway: Waited):
    outlook = ModelOutlook(model=MODEL, framework=FRAMEWORK, queue_s=10.0, load_s=35.0)
    async with gateway.agent() as agent:
        await agent.observes(instance(InstanceState.QUEUED, ahead=4), outlooks=[outlook])
        await gateway.seen_as("queued")
        status, headers, answer = await ask(gateway, wait="0.2")
    error = answer["error"]
    assert (status, error["code"], error["state"]["state"]) == (503, "model_loading", "queued")
    assert error["state"]["queue_position"] == 5
    assert headers["x-should-retry"] == "true"
    assert 1 <= int(headers["Retry-After"]) <= 45
    assert "4 jobs before it" in error["message"]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_who_does_not_wait_gets_the_503_at_once_and_is_demand_all_the_same(
    gateway: Waited, stream: bool
):
    async with gateway.agent() as agent:
        heard = len(agent.demands)
        status, headers, answer = await ask(gateway, stream=stream, wait="0")
        assert (status, answer["error"]["code"]) == (503, "model_loading")
        assert headers["Retry-After"] == "30"
        await agent.until(
            lambda: any(one.models[0].used_s is not None for one in agent.demands[heard:])
        )


@pytest.mark.parametrize("said", ["soon", "-1", "1e9", ""])
async def test_a_wait_that_is_no_number_is_refused(gateway: Waited, said: str):
    status, _, answer = await ask(gateway, wait=said)
    assert (status, answer["error"]["code"]) == (400, "invalid_request")


class TestWhatCannotCome:
    @pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
    async def test_what_the_site_refuses(self, gateway: Waited, stream: bool):
        refused = ModelOutlook(model=MODEL, framework=FRAMEWORK, refused="8 GPUs are more than 4")
        async with gateway.agent() as agent:
            await agent.observes(outlooks=[refused])
            await gateway.hub.board.changed([gateway.hub.board.view("local")], within_s=0.05)
            await until_unavailable(gateway)
            status, headers, answer = await ask(gateway, stream=stream)
        assert (status, answer["error"]["code"]) == (503, "model_unavailable")
        assert "8 GPUs are more than 4" in answer["error"]["message"]
        assert headers["x-should-retry"] == "false"

    async def test_what_operators_disabled(self, tmp_path: Path):
        def change(catalog: Catalog) -> Catalog:
            said = Override(model=MODEL, cluster="local", disabled=True)
            return Catalog(
                catalog.clusters.values(), catalog.models.values(), overrides=[said], version=2
            )

        async with (
            waiting_gateway(tmp_path, change=change) as gateway,
            gateway.hub.agent(gateway.site) as agent,
        ):
            await agent.observes()
            await gateway.seen_as("disabled")
            status, headers, answer = await ask(gateway)
        assert (status, answer["error"]["code"]) == (503, "model_unavailable")
        assert "out of service" in answer["error"]["message"]
        assert headers["x-should-retry"] == "false"

    async def test_what_is_at_a_cluster_under_maintenance(self, tmp_path: Path):
        def change(catalog: Catalog) -> Catalog:
            (only,) = catalog.clusters.values()
            resting = replace(only, maintenance="new power supplies")
            return Catalog([resting], catalog.models.values(), version=2)

        async with waiting_gateway(tmp_path, change=change) as gateway:
            status, _, answer = await ask(gateway)
            assert (await gateway.model())["state"] == "maintenance"
        assert (status, answer["error"]["code"]) == (503, "backend_unavailable")
        assert "new power supplies" in answer["error"]["message"]

    async def test_what_nobody_can_start_since_the_site_is_away(self, gateway: Waited):
        gateway.hub.board.take_answer("local", None)
        await until_unavailable(gateway)
        status, headers, answer = await ask(gateway)
        assert (status, answer["error"]["code"]) == (503, "model_unavailable")
        assert headers["x-should-retry"] == "true"
        # Nothing is known for certain, so the site was asked.
        assert gateway.backend.refused == 1


class TestHowManyWait:
    async def test_no_more_of_one_person_than_there_may_be(self, behind_hub, tmp_path: Path):
        rules = WaitRules(most_per_person=2)
        async with (
            waiting_gateway(tmp_path, behind_hub=behind_hub, rules=rules) as gateway,
            gateway.agent() as agent,
        ):
            held = [asyncio.create_task(ask(gateway)) for _ in range(2)]
            await agent.until_wanted(2)
            status, _, answer = await ask(gateway)
            assert (status, answer["error"]["code"]) == (503, "model_loading")
            assert "too many" in answer["error"]["message"]
            held.append(asyncio.create_task(ask(gateway, "bob")))
            await agent.until_wanted(3)
            await gateway.load(agent)
            assert [status for status, _, _ in await asyncio.gather(*held)] == [200] * 3
            assert (await ask(gateway))[0] == 200

    @pytest.mark.parametrize("rules", [{"most_bytes_per_person": 500}, {"most_bytes": 500}])
    async def test_no_more_than_there_is_room_for_their_bodies(
        self, behind_hub, tmp_path: Path, rules: dict[str, int]
    ):
        # Who waits for an hour would keep all others from sending anything.
        bounds = WaitRules(**rules)
        async with (
            waiting_gateway(tmp_path, behind_hub=behind_hub, rules=bounds) as gateway,
            gateway.agent() as agent,
        ):
            held = asyncio.create_task(ask(gateway, text="x" * 200))
            await agent.until_wanted(1)
            status, _, answer = await ask(gateway, text="x" * 200)
            assert (status, answer["error"]["code"]) == (503, "model_loading")
            assert "too many" in answer["error"]["message"]
            small = asyncio.create_task(ask(gateway))
            await agent.until_wanted(2)
            others = asyncio.create_task(ask(gateway, "bob", text="x" * 200))
            if "most_bytes" in rules:
                assert (await others)[0] == 503
            else:
                await agent.until_wanted(3)
            await gateway.load(agent)
            assert [status for status, _, _ in await asyncio.gather(held, small)] == [200] * 2
            assert (await ask(gateway, text="x" * 200))[0] == 200
            await others

    async def test_no_more_for_one_model_than_there_may_be(self, behind_hub, tmp_path: Path):
        rules = WaitRules(most_per_model=1)
        async with (
            waiting_gateway(tmp_path, behind_hub=behind_hub, rules=rules) as gateway,
            gateway.agent() as agent,
        ):
            held = asyncio.create_task(ask(gateway, "bob"))
            await agent.until_wanted(1)
            assert (await ask(gateway))[0] == 503
            held.cancel()
            await asyncio.wait({held})
            await agent.until_wanted(0)
            held = asyncio.create_task(ask(gateway))
            await agent.until_wanted(1)
            await gateway.load(agent)
            assert (await held)[0] == 200


async def until_unavailable(gateway: Waited) -> None:
    """Wait until the gateway shows that the model cannot come."""

    async def is_so() -> bool:
        (place,) = (await gateway.model())["places"]
        return "unavailable" in place

    await eventually_so(is_so)
