"""The launcher with a relay: it dials when the instance is ready, and ends with it."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import jwt
import pytest

from compute_functions import enrol, launcher
from compute_functions.errors import ConfigurationError
from compute_functions.launch import Launch
from tests.support.asking_hub import HubThatAsks, hub_that_asks
from tests.support.launches import launch, states

PATH = "/v1/completions"
BODY = b'{"model": "vendor/model"}'


def enrolled(folder: Path, address: str, **changes: Any) -> Launch:
    given = launch(folder, **changes)
    arguments = ["--site-dir", str(given.site.root), "--cluster", "sophia", "--insecure"]
    assert enrol.main([*arguments, "--hub", address]) == 0
    return given


async def linked(given: Launch, stop: asyncio.Event, hub: HubThatAsks) -> asyncio.Task[None]:
    """Start the launcher and wait until its relay is linked."""
    task = asyncio.create_task(launcher.run(given, stop))
    waiting = asyncio.create_task(hub.linked())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        waiting.cancel()
        task.result()
    await waiting
    return task


async def test_an_instance_of_an_enrolled_site_serves_by_relay(tmp_path: Path) -> None:
    stop = asyncio.Event()
    async with hub_that_asks() as (hub, address):
        with states() as log:
            task = await linked(enrolled(tmp_path, address), stop, hub)
            seen = list(log.seen)
            said = await (await hub.ask(BODY, path=PATH)).whole()
            stop.set()
            await task

    assert seen == ["starting", "ready"]
    assert said == b'{"text": "Hello"}'
    assert hub.hellos[0].instance == "instance"
    assert hub.hellos[0].paths == (PATH,)
    claims = jwt.decode(hub.tokens[0], options={"verify_signature": False})
    assert (claims["iss"], claims["sub"], claims["job"]) == ("sophia", "instance", "job-1")
    assert (claims["framework"], claims["model"]) == ("small", "vendor/model")
    assert hub.drained.is_set()
    assert hub.close_codes == [1001]


async def test_a_stream_under_way_ends_before_the_engine_is_stopped(tmp_path: Path) -> None:
    stop = asyncio.Event()
    async with hub_that_asks() as (hub, address):
        task = await linked(enrolled(tmp_path, address), stop, hub)
        body = b'{"model": "vendor/model"} '
        under_way = await hub.ask(body, path=PATH, sends=5)
        stop.set()
        await hub.until(hub.drained.is_set)
        refused = await hub.ask(BODY, path=PATH)
        assert (await refused.failed()).code == "draining"
        await hub.rest(under_way, 5)

        assert await under_way.whole() == b'{"text": "Hello"}'
        await task


async def test_a_site_that_is_not_enrolled_has_no_relay(tmp_path: Path) -> None:
    given, stop = launch(tmp_path), asyncio.Event()
    with states() as log:
        task = asyncio.create_task(launcher.run(given, stop))
        await log.until("ready")
        stop.set()
        await task

    assert not given.site.relay.exists()


async def test_a_relay_that_cannot_sign_harms_no_engine(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "hotnode.relay")
    stop = asyncio.Event()
    async with hub_that_asks() as (hub, address):
        given = enrolled(tmp_path, address)
        (given.site.relay / "site.key").unlink()
        with states() as log:
            task = asyncio.create_task(launcher.run(given, stop))
            await log.until("ready")
            async with asyncio.timeout(30):
                while "enrol the site again" not in caplog.text:  # noqa: ASYNC110 # a log
                    await asyncio.sleep(0.01)
            stop.set()
            await task

    assert hub.tokens == []
    assert log.seen == ["starting", "ready", "draining", "stopped"]


async def test_a_broken_enrolment_is_said_before_the_engine_is_started(tmp_path: Path) -> None:
    given = enrolled(tmp_path, "ws://127.0.0.1:1")
    (given.site.relay / "relay.json").write_text("{}")

    with states() as log, pytest.raises(ConfigurationError, match=r"relay\.json"):
        await launcher.run(given, asyncio.Event())
    assert log.seen == []
