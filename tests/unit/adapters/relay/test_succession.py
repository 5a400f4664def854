"""A relay's next process links while the hub still waits for the one before it."""

from __future__ import annotations

import asyncio

import pytest

from compute_functions.contract import FailureCode
from compute_functions.contract.frames import FrameKind
from compute_functions.contract.relay import Hello
from resource_server.adapters.relay.stream import RelayStream
from resource_server.domain import errors
from resource_server.domain.inference import InferenceAnswer
from tests.support.eventually import eventually
from tests.support.relay_double import RelayDouble, data, end, error, head
from tests.support.relay_hub import RelayHub, asking, cluster_of
from tests.support.relay_site import RelaySite

#: More than all buffers between the hub and a relay that does not read.
LARGE = b"x" * (16 * 1024 * 1024)


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


def states(hub: RelayHub) -> list[str]:
    return [link.state.value for link in hub.links]


async def test_the_successor_ends_the_streams_of_a_relay_that_was_cut(
    hub: RelayHub, enrolled: RelaySite
) -> None:
    relay = await hub.dialler.connected(enrolled, run="first")
    stream = await begun(hub, enrolled, relay)
    relay.cut()
    await eventually(lambda: states(hub) == ["parked"])
    await hub.dialler.connected(enrolled, run="second")
    assert states(hub) == ["ready"]
    error = await ended(stream)
    assert isinstance(error, errors.BackendInterrupted)
    assert error.retry_after_s is None


async def test_a_cut_that_shows_after_the_successor_has_linked_is_an_end(
    hub: RelayHub, enrolled: RelaySite
) -> None:
    relay = await hub.dialler.connected(enrolled, run="first")
    stream = await begun(hub, enrolled, relay)
    await hub.dialler.connected(enrolled, run="second")
    # It may live, as far as the hub can tell.
    assert states(hub) == ["ready", "ready"]
    relay.cut()
    assert isinstance(await ended(stream), errors.BackendInterrupted)
    assert states(hub) == ["ready"]


@pytest.mark.parametrize(
    ("runs", "instances"),
    [
        pytest.param(("same", "same"), ("instance-1", "instance-1"), id="another link of it"),
        pytest.param(("", ""), ("instance-1", "instance-1"), id="relays that say no run"),
        pytest.param(("first", ""), ("instance-1", "instance-1"), id="one that says none"),
        pytest.param(("first", "second"), ("instance-1", "instance-2"), id="another instance"),
    ],
)
async def test_who_is_no_successor_ends_nothing(
    hub: RelayHub, enrolled: RelaySite, runs: tuple[str, str], instances: tuple[str, str]
) -> None:
    relay = await hub.dialler.connected(enrolled, instances[0], run=runs[0])
    stream = await begun(hub, enrolled, relay)
    relay.cut()
    await eventually(lambda: states(hub) == ["parked"])
    await hub.dialler.connected(enrolled, instances[1], run=runs[1])
    assert sorted(states(hub)) == ["parked", "ready"]
    await stream.aclose()


async def test_what_surely_never_ran_runs_at_the_successor(
    hub: RelayHub, enrolled: RelaySite
) -> None:
    """A relay asks its engine when it has all of the body."""
    relay = await hub.dialler.connected(enrolled, run="first")
    asked = asyncio.create_task(hub.backend.infer(cluster_of(enrolled), asking(LARGE)))
    await relay.heard(FrameKind.REQUEST)
    relay.cut()
    await eventually(lambda: states(hub) == ["parked"])
    assert not asked.done()
    successor = await hub.dialler.connected(enrolled, run="second")
    number, _, body = await successor.request()
    assert body == LARGE
    await successor.said(head(number), data(number, 0, b"{}"), end(number, 2))
    assert (await asked).body == b"{}"


async def lost_at_the_first(hub: RelayHub, site: RelaySite) -> asyncio.Task[InferenceAnswer]:
    """Return a request that has left whole for an instance whose link was cut."""
    relay = await hub.dialler.connected(site, run="first")
    asked = asyncio.create_task(hub.backend.infer(cluster_of(site), asking()))
    await relay.request()
    relay.cut()
    await eventually(lambda: states(hub) == ["parked"])
    return asked


async def test_what_was_lost_before_it_was_answered_is_asked_once_more(
    hub: RelayHub, enrolled: RelaySite
) -> None:
    asked = await lost_at_the_first(hub, enrolled)
    successor = await hub.dialler.connected(enrolled, run="second")
    number, _, body = await successor.request()
    assert body == asking().body
    await successor.said(head(number), data(number, 0, b"{}"), end(number, 2))
    assert (await asked).body == b"{}"


async def test_it_is_not_asked_a_third_time(hub: RelayHub, enrolled: RelaySite) -> None:
    """It may be what ends its instances."""
    asked = asyncio.create_task(_asked_once_linked(hub, enrolled))
    for run in ("first", "second"):
        relay = await hub.dialler.connected(enrolled, run=run)
        await relay.request()
        relay.cut()
        await eventually(lambda: states(hub) == ["parked"])
    third = await hub.dialler.connected(enrolled, run="third")
    async with asyncio.timeout(15):
        with pytest.raises(errors.BackendInterrupted, match="at two instances") as caught:
            await asked
    assert not caught.value.lost_unanswered
    assert caught.value.retry_after_s is None
    # The next request is the first that the third one hears of.
    again = asyncio.create_task(hub.backend.infer(cluster_of(enrolled), asking(b"next")))
    number, _, body = await third.request()
    assert body == b"next"
    await third.said(head(number), end(number, 0))
    assert (await again).status == 200


async def test_where_no_other_instance_is_another_cluster_may_be_asked(
    hub: RelayHub, enrolled: RelaySite
) -> None:
    relay = await hub.dialler.connected(enrolled, "instance-1")
    asked = asyncio.create_task(hub.backend.infer(cluster_of(enrolled), asking()))
    await relay.request()
    relay.cut()
    await eventually(lambda: states(hub) == ["parked"])
    hub.links.failed(enrolled.cluster, {"instance-1"})
    async with asyncio.timeout(15):
        with pytest.raises(errors.BackendInterrupted) as caught:
            await asked
    assert caught.value.lost_unanswered
    # Clients are not told to repeat it by themselves.
    assert caught.value.retry_after_s is None


async def test_nor_are_they_where_the_second_instance_did_not_take_it(
    hub: RelayHub, enrolled: RelaySite
) -> None:
    asked = await lost_at_the_first(hub, enrolled)
    successor = await hub.dialler.connected(enrolled, run="second")
    number, _, _ = await successor.request()
    await successor.said(error(number, 0, FailureCode.BUSY))
    async with asyncio.timeout(15):
        with pytest.raises(errors.BackendInterrupted) as caught:
            await asked
    assert caught.value.lost_unanswered
    assert caught.value.retry_after_s is None


async def test_what_was_asked_of_a_relay_that_breaks_the_protocol_stays_there(
    hub: RelayHub, enrolled: RelaySite
) -> None:
    """It may be what makes relays do so."""
    relay = await hub.dialler.connected(enrolled, "instance-1")
    asked = asyncio.create_task(hub.backend.infer(cluster_of(enrolled), asking()))
    number, _, _ = await relay.request()
    other = await hub.dialler.connected(enrolled, "instance-2")
    await relay.said(data(number, 0, b"before any head"))
    async with asyncio.timeout(15):
        with pytest.raises(errors.BackendInterrupted) as caught:
            await asked
    assert not caught.value.lost_unanswered
    again = asyncio.create_task(hub.backend.infer(cluster_of(enrolled), asking(b"next")))
    number, _, body = await other.request()
    assert body == b"next"
    await other.said(head(number), end(number, 0))
    assert (await again).status == 200


async def _asked_once_linked(hub: RelayHub, enrolled: RelaySite) -> None:
    await eventually(lambda: states(hub) == ["ready"])
    await hub.backend.infer(cluster_of(enrolled), asking())


async def test_what_has_begun_does_not_run_again_whatever_of_it_had_left(
    hub: RelayHub, enrolled: RelaySite
) -> None:
    """A relay of another make may ask its engine before it has all of the body."""
    relay = await hub.dialler.connected(enrolled, run="first")
    opening = asyncio.create_task(hub.backend.stream(cluster_of(enrolled), asking(LARGE)))
    request = await relay.heard(FrameKind.REQUEST)
    await relay.said(head(request.stream))
    stream = await opening
    relay.cut()
    await eventually(lambda: states(hub) == ["parked"])
    await hub.dialler.connected(enrolled, run="second")
    error = await ended(stream)
    assert isinstance(error, errors.BackendInterrupted)
    assert error.retry_after_s is None


async def test_a_relay_that_goes_on_after_all_is_waited_for_again(
    hub: RelayHub, enrolled: RelaySite
) -> None:
    relay = await hub.dialler.connected(enrolled, run="first")
    stream = await begun(hub, enrolled, relay)
    await hub.dialler.connected(enrolled, run="second")
    assert relay.accept is not None
    again = await hub.dialler.dial(relay.accept.session, instance=relay.instance, link=relay.link)
    accept = await again.hello(hub=relay.accept.hub, bodies={1: 8}, run="first")
    assert accept.resumed
    again.cut()
    await eventually(lambda: sorted(states(hub)) == ["parked", "ready"])
    await stream.aclose()


def test_a_hello_without_a_run_is_an_older_relay_s() -> None:
    known = Hello(instance="i", link="l", paths=(), run="r")
    assert Hello.from_payload(known.to_payload()).run == "r"
    older = known.to_payload().replace(b'"run":"r",', b"")
    assert older != known.to_payload()
    assert Hello.from_payload(older).run == ""
