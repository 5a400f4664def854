"""What the openai SDK makes of a model that is being started: an answer that comes late."""

from __future__ import annotations

import asyncio
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from compute_functions.contract import InstanceState, ModelOutlook
from tests.support.eventually import eventually_so
from tests.support.relay_site import FRAMEWORK, MODEL
from tests.support.site_links import instance
from tests.support.waiting_gateway import Waited

ASK: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Where?"}]


def client_of(gateway: Waited, *, retries: int = 0) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="alice", max_retries=retries)


@pytest.mark.row("A-15", "C-55")
async def test_a_stream_merely_begins_late(gateway: Waited):
    async with gateway.agent() as agent, client_of(gateway) as client:

        async def read() -> str:
            stream = await client.chat.completions.create(model=MODEL, messages=ASK, stream=True)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

        reading = asyncio.create_task(read())
        await agent.until_wanted(1)
        await agent.observes(instance(InstanceState.STARTING))
        await gateway.seen_as("starting")
        await gateway.load(agent)
        assert await reading == "Oslo"


@pytest.mark.row("A-15", "C-55")
async def test_an_answer_in_one_piece_merely_comes_late(gateway: Waited):
    async with gateway.agent() as agent, client_of(gateway) as client:
        asking = asyncio.create_task(client.chat.completions.create(model=MODEL, messages=ASK))
        await agent.until_wanted(1)
        await gateway.load(agent)
        assert (await asking).choices[0].message.content == "Oslo"


async def test_who_does_not_wait_gets_an_error_that_says_how_it_stands(gateway: Waited):
    async with gateway.agent(), client_of(gateway) as client:
        for stream in (False, True):
            with pytest.raises(openai.InternalServerError) as caught:
                await client.chat.completions.create(
                    model=MODEL,
                    messages=ASK,
                    stream=stream,
                    extra_headers={"x-hotnode-wait": "0"},
                )
            assert caught.value.status_code == 503
            assert caught.value.code == "model_loading"
            body: Any = caught.value.body
            assert body["state"]["state"] == "idle"


async def test_the_sdk_asks_again_by_itself_until_it_is_there(gateway: Waited):
    # Ready in a second, so that this is when the SDK comes again.
    outlook = ModelOutlook(model=MODEL, framework=FRAMEWORK, queue_s=0.0, load_s=0.2)
    async with gateway.agent() as agent, client_of(gateway, retries=2) as client:
        await agent.observes(outlooks=[outlook])
        await gateway.seen_as("idle")
        heard = len(agent.demands)
        asking = asyncio.create_task(
            client.chat.completions.create(
                model=MODEL, messages=ASK, extra_headers={"x-hotnode-wait": "0"}
            )
        )
        await agent.until(
            lambda: any(one.models[0].used_s is not None for one in agent.demands[heard:])
        )
        await gateway.load(agent)
        assert (await asking).choices[0].message.content == "Oslo"


async def test_a_wait_that_is_over_is_an_error_within_the_stream(gateway: Waited):
    async with gateway.agent(), client_of(gateway) as client:
        stream = await client.chat.completions.create(
            model=MODEL, messages=ASK, stream=True, extra_headers={"x-hotnode-wait": "0.1"}
        )
        with pytest.raises(openai.APIError) as caught:
            _ = [chunk async for chunk in stream]
    assert caught.value.code == "model_loading"


async def test_a_model_that_cannot_come_is_not_asked_for_again(gateway: Waited):
    refused = ModelOutlook(model=MODEL, framework=FRAMEWORK, refused="too many GPUs")
    async with gateway.agent() as agent, client_of(gateway, retries=2) as client:
        await agent.observes(outlooks=[refused])

        async def unavailable() -> bool:
            return "unavailable" in (await gateway.model())["places"][0]

        await eventually_so(unavailable)
        with pytest.raises(openai.InternalServerError) as caught:
            await client.chat.completions.create(model=MODEL, messages=ASK)
    assert caught.value.code == "model_unavailable"
    assert len(gateway.lines()) == 1
