"""A site says that an instance has failed: its link is not waited for any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from compute_functions.contract.frames import FrameKind
from resource_server.adapters.relay.stream import RelayStream
from resource_server.domain import errors
from tests.support.eventually import eventually
from tests.support.relay_double import RelayDouble, data, end, head
from tests.support.relay_hub import RelayHub, asking, cluster_of, relay_hub
from tests.support.relay_site import RelaySite, catalog_of

ONE, OTHER = "instance-1", "instance-2"
#: More than all buffers between the hub and a relay that does not read.
LARGE = b"x" * (16 * 1024 * 1024)


@pytest_asyncio.fixture
async def hub(enrolled: RelaySite, tmp_path: Path) -> AsyncIterator[RelayHub]:
    async with relay_hub(catalog_of(enrolled), tmp_path, doubted_s=0.1) as hub:
        yield hub


def states(hub: RelayHub) -> dict[str, str]:
    return {link.instance.instance: link.state.value for link in hub.links}


async def begun(hub: RelayHub, site: RelaySite, relay: RelayDouble) -> RelayStream:
    """Return a stream whose head has come."""
    opening = asyncio.create_task(hub.backend.stream(cluster_of(site), asking()))
    number, _, _ = await relay.request()
    await relay.said(head(number), data(number, 0, b"so far"))
    return await opening


async def ended(stream: RelayStream) -> errors.HotnodeError:
    """Return the error that a stream ends in; a hub waits for half a minute for a cut link."""
    async with asyncio.timeout(15):
        with pytest.raises(errors.HotnodeError) as caught:
            async for _ in stream:
                pass
    return caught.value


async def test_a_link_that_was_cut_is_given_up(hub: RelayHub, enrolled: RelaySite) -> None:
    relay = await hub.dialler.connected(enrolled, ONE)
    stream = await begun(hub, enrolled, relay)
    relay.cut()
    await eventually(lambda: states(hub) == {ONE: "parked"})

    hub.links.failed(enrolled.cluster, {OTHER})
    assert states(hub) == {ONE: "parked"}
    hub.links.failed("another", {ONE})
    assert states(hub) == {ONE: "parked"}
    hub.links.failed(enrolled.cluster, {ONE})

    assert states(hub) == {}
    error = await ended(stream)
    assert isinstance(error, errors.BackendInterrupted)
    assert error.retry_after_s is None


async def test_one_that_only_looks_alive_is_given_up_as_well(
    hub: RelayHub, enrolled: RelaySite
) -> None:
    """A node without power closes no connection."""
    relay = await hub.dialler.connected(enrolled, ONE)
    stream = await begun(hub, enrolled, relay)

    hub.links.failed(enrolled.cluster, {ONE})

    assert not hub.backend.serves(cluster_of(enrolled), asking())
    assert isinstance(await ended(stream), errors.BackendInterrupted)
    assert states(hub) == {}


async def test_one_that_goes_on_speaking_finishes_what_it_has(
    enrolled: RelaySite, tmp_path: Path
) -> None:
    # Longer than this process stands still on a busy machine.
    async with relay_hub(catalog_of(enrolled), tmp_path, doubted_s=2.0) as hub:
        relay = await hub.dialler.connected(enrolled, ONE)
        opening = asyncio.create_task(hub.backend.stream(cluster_of(enrolled), asking()))
        number, _, _ = await relay.request()
        await relay.said(head(number))
        stream = await opening

        # A site says so again and again.
        for at, piece in enumerate(b"%03d" % at for at in range(40)):
            hub.links.failed(enrolled.cluster, {ONE})
            await relay.said(data(number, at * 3, piece))
            assert await anext(stream) == piece
            # Longer in all than it is doubted for.
            await asyncio.sleep(0.06)

        assert states(hub) == {ONE: "draining"}
        await relay.said(end(number, 120))
        assert [piece async for piece in stream] == []


async def test_one_that_has_not_failed_after_all_takes_requests_again(
    hub: RelayHub, enrolled: RelaySite
) -> None:
    relay = await hub.dialler.connected(enrolled, ONE)
    told: list[str] = []
    hub.links.changed = told.append
    hub.links.failed(enrolled.cluster, {ONE})
    assert states(hub) == {ONE: "draining"}

    hub.links.failed(enrolled.cluster, set())

    assert states(hub) == {ONE: "ready"}
    assert told == [enrolled.cluster] * 2
    asked = asyncio.create_task(hub.backend.infer(cluster_of(enrolled), asking()))
    number, _, _ = await relay.request()
    await relay.said(head(number), end(number, 0))
    assert (await asked).status == 200


async def test_what_surely_never_ran_runs_elsewhere(hub: RelayHub, enrolled: RelaySite) -> None:
    relay = await hub.dialler.connected(enrolled, ONE)
    asked = asyncio.create_task(hub.backend.infer(cluster_of(enrolled), asking(LARGE)))
    await relay.heard(FrameKind.REQUEST)
    other = await hub.dialler.connected(enrolled, OTHER)
    relay.cut()
    await eventually(lambda: states(hub) == {ONE: "parked", OTHER: "ready"})

    hub.links.failed(enrolled.cluster, {ONE})

    number, _, body = await other.request()
    assert body == LARGE
    await other.said(head(number), data(number, 0, b"{}"), end(number, 2))
    assert (await asked).body == b"{}"
