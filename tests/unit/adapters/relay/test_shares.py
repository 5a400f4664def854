"""What one cluster may take of a hub, and that it takes nothing from the others."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from compute_functions.contract.frames import MAX_MESSAGE, Frame, FrameKind, encoded
from compute_functions.contract.relay import Accept, Hello, StreamState
from compute_functions.relay import streams as of_relays
from resource_server.adapters.relay import link as of_hubs
from resource_server.adapters.relay.instance import RelayInstance
from resource_server.adapters.relay.sessions import Sessions
from resource_server.adapters.relay.shares import HubLimits, RequestRoom, Room
from resource_server.domain import errors
from tests.support.eventually import eventually
from tests.support.relay_double import RelayDouble, data, end, head
from tests.support.relay_hub import asking, cluster_of, relay_hub
from tests.support.relay_site import RelaySite, catalog_of

TRY_AGAIN_LATER = 1013


async def test_a_cluster_has_so_many_links_and_others_have_theirs(
    enrolled: RelaySite, tmp_path: Path
) -> None:
    other = RelaySite.enrolled("other")
    limits = HubLimits(links=2)
    async with relay_hub(catalog_of(enrolled, other), tmp_path, limits=limits) as hub:
        first = await hub.dialler.connected(enrolled, "instance-1")
        await hub.dialler.connected(enrolled, "instance-2")
        with capture_logs() as log:
            third = await hub.dialler.dial(enrolled.credential("instance-3"), instance="instance-3")
            await third.said(hello_of(third))
            assert await third.closed() == TRY_AGAIN_LATER
        (line,) = [entry for entry in log if entry["event"] == "relay_refused"]
        assert (line["cluster"], line["close_code"]) == (enrolled.cluster, TRY_AGAIN_LATER)
        assert len(list(hub.links)) == 2
        await hub.dialler.connected(other)
        # One that goes makes room, and one that was cut keeps its own.
        await first.socket.close(code=1001)
        await eventually(lambda: len(list(hub.links)) == 2)
        again = await hub.dialler.connected(enrolled, "instance-3")
        again.cut()
        await eventually(lambda: "parked" in {link.state for link in hub.links})
        assert again.accept is not None
        back = await hub.dialler.dial(again.accept.session, instance="instance-3", link=again.link)
        assert (await back.hello(hub=again.accept.hub)).resumed


async def test_a_cluster_has_so_many_connections_and_others_have_theirs(
    enrolled: RelaySite, tmp_path: Path
) -> None:
    """Also of those that say nothing."""
    other = RelaySite.enrolled("other")
    limits = HubLimits(connections=2)
    async with relay_hub(catalog_of(enrolled, other), tmp_path, limits=limits) as hub:
        silent = [await hub.dialler.dial(enrolled.credential()) for _ in range(2)]
        with capture_logs() as log:
            assert await hub.dialler.refused(enrolled.credential()) == 429
        assert [entry["status"] for entry in log if entry["event"] == "relay_refused"] == [429]
        await hub.dialler.connected(other)
        await silent[0].socket.close()
        await eventually(lambda: hub.links.share(enrolled.cluster).connections.take(1))
        hub.links.share(enrolled.cluster).connections.give_back(1)
        await hub.dialler.connected(enrolled)


async def test_a_cluster_has_so_many_requests_and_others_have_theirs(
    enrolled: RelaySite, tmp_path: Path
) -> None:
    other = RelaySite.enrolled("other")
    limits = HubLimits(requests=1)
    async with relay_hub(catalog_of(enrolled, other), tmp_path, limits=limits) as hub:
        relay = await hub.dialler.connected(enrolled)
        await hub.dialler.connected(enrolled, "instance-2")
        first = asyncio.create_task(hub.backend.infer(cluster_of(enrolled), asking()))
        number, _, _ = await relay.request()
        with pytest.raises(errors.BackendUnavailable, match="Too many requests") as caught:
            await hub.backend.infer(cluster_of(enrolled), asking())
        assert caught.value.retry_after_s is not None
        others = await hub.dialler.connected(other)
        asked = asyncio.create_task(
            hub.backend.infer(catalog_of(other).cluster(other.cluster), asking())
        )
        theirs, _, _ = await others.request()
        await others.said(head(theirs), end(theirs, 0))
        assert (await asked).status == 200
        await relay.said(head(number), end(number, 0))
        assert (await first).status == 200


async def test_whole_answers_take_room_while_they_come(enrolled: RelaySite, tmp_path: Path) -> None:
    async with relay_hub(catalog_of(enrolled), tmp_path, limits=HubLimits(answers=100)) as hub:
        relay = await hub.dialler.connected(enrolled)
        answers = hub.links.share(enrolled.cluster).answers
        first = asyncio.create_task(hub.backend.infer(cluster_of(enrolled), asking()))
        number, _, _ = await relay.request()
        await relay.said(head(number), data(number, 0, b"x" * 80))
        await eventually(lambda: not answers_are_free(answers, 21))
        second = asyncio.create_task(hub.backend.infer(cluster_of(enrolled), asking()))
        late, _, _ = await relay.request()
        await relay.said(head(late), data(late, 0, b"x" * 30))
        with pytest.raises(errors.BackendUnavailable, match="large answers") as caught:
            await second
        assert caught.value.retry_after_s is None
        assert (await relay.heard(FrameKind.CANCEL)).stream == late
        await relay.said(end(number, 80))
        assert len((await first).body) == 80
        assert answers_are_free(answers, 100)


def answers_are_free(room: Room, size: int) -> bool:
    free = room.take(size)
    if free:
        room.give_back(size)
    return free


async def test_what_a_site_names_beyond_its_share_is_served_and_not_shown(
    enrolled: RelaySite, tmp_path: Path
) -> None:
    other = RelaySite.enrolled("other")
    async with relay_hub(catalog_of(enrolled, other), tmp_path, limits=HubLimits(places=1)) as hub:
        for model in ("org/one", "org/two"):
            relay = await hub.dialler.dial(enrolled.credential(model=model))
            await relay.hello()
        await hub.dialler.connected(other)
        shown = {health.place[0::2] for health in hub.links.health()}
        assert shown == {(enrolled.cluster, "org/one"), (other.cluster, "org/model")}
        assert len(list(hub.links)) == 3


def test_room_within_room_is_taken_of_both_or_of_none() -> None:
    all_ = Room(10)
    one, two = Room(8, within=all_), Room(8, within=all_)
    assert one.take(8)
    assert not two.take(3)
    assert two.take(2)
    one.give_back(8)
    assert two.take(6)
    assert not two.take(1)
    number, bodies = Room(1), Room(10)
    requests = RequestRoom(number, bodies)
    assert not requests.take(11)
    assert requests.take(10)
    assert not requests.take(0)
    requests.give_back(10)
    assert requests.take(1)


def test_the_first_frames_of_a_link_with_all_its_streams_fit_a_message() -> None:
    """What could not be sent would never be resumed; both sides bound their streams."""
    last, long = 2**32 - 1, 2**53
    name = "\U0010ffff" * 255
    instance = RelayInstance(cluster=name, instance=name, job=name, framework=name, model=name)
    state = StreamState(head=False, received=long, credit=long)
    accept = Accept(
        hub="h" * 32,
        session=Sessions(b"s" * 40).issue(instance, "key"),
        session_s=3600.0,
        resumed=True,
        streams={last - n: state for n in range(of_hubs.MOST_STREAMS)},
    )
    hello = Hello(
        instance=name,
        link=name,
        paths=tuple(f"/v1/path/{n:0200}" for n in range(100)),
        hub="h" * 32,
        bodies={last - n: 2**40 for n in range(of_relays.MOST_STREAMS)},
    )
    for kind, payload in ((FrameKind.ACCEPT, accept), (FrameKind.HELLO, hello)):
        assert len(encoded(Frame(kind, payload=payload.to_payload()))) <= MAX_MESSAGE


async def test_a_link_with_as_many_streams_as_it_may_have_goes_on(
    enrolled: RelaySite, tmp_path: Path
) -> None:
    async with relay_hub(catalog_of(enrolled), tmp_path) as hub:
        relay = await hub.dialler.connected(enrolled)
        assert relay.accept is not None
        opening = [
            asyncio.create_task(hub.backend.stream(cluster_of(enrolled), asking()))
            for _ in range(of_hubs.MOST_STREAMS)
        ]
        numbers = [(await relay.request())[0] for _ in opening]
        for number in numbers:
            await relay.said(head(number), data(number, 0, b"first "))
        streams = await asyncio.gather(*opening)
        with pytest.raises(errors.BackendUnavailable, match="Too many requests"):
            await hub.backend.stream(cluster_of(enrolled), asking())
        relay.cut()
        await eventually(lambda: [link.state.value for link in hub.links] == ["parked"])
        back = await hub.dialler.dial(relay.accept.session, link=relay.link)
        size = len(asking().body)
        accept = await back.hello(hub=relay.accept.hub, bodies=dict.fromkeys(numbers, size))
        assert set(accept.streams) == set(numbers)
        for number in numbers:
            await back.said(data(number, 6, b"last"), end(number, 10))
        for stream in streams:
            assert b"".join([piece async for piece in stream]) == b"first last"


def hello_of(relay: RelayDouble) -> Frame:
    hello = Hello(instance=relay.instance, link=relay.link, paths=("/v1/chat/completions",))
    return Frame(FrameKind.HELLO, payload=hello.to_payload())
