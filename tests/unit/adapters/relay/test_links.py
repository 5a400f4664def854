"""Links that are cut and go on, links that end, and how the hub stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from compute_functions.contract import FailureCode
from compute_functions.contract.frames import MAX_DATA, WINDOW, Frame, FrameKind
from compute_functions.contract.relay import EngineLoad, Hello, RelayRequest, Renewal
from resource_server.adapters.relay.listener import ListenerTimes
from resource_server.adapters.relay.shares import HubLimits
from resource_server.adapters.relay.stream import RelayStream
from resource_server.domain import errors
from resource_server.domain.catalog import Catalog
from tests.support.eventually import eventually
from tests.support.relay_double import RelayDouble, data, end, error, head
from tests.support.relay_hub import RelayHub, asking, cluster_of, relay_hub
from tests.support.relay_site import RelaySite, catalog_of


async def streaming(hub: RelayHub, site: RelaySite, relay: RelayDouble) -> tuple[RelayStream, int]:
    opening = asyncio.create_task(hub.backend.stream(cluster_of(site), asking()))
    number, _, _ = await relay.request()
    await relay.said(head(number))
    return await opening, number


async def rest(stream: RelayStream) -> bytes:
    return b"".join([piece async for piece in stream])


async def dialled_again(hub: RelayHub, relay: RelayDouble) -> RelayDouble:
    """Dial with the session, as the same link; HELLO is still to be said."""
    assert relay.accept is not None
    return await hub.dialler.dial(relay.accept.session, instance=relay.instance, link=relay.link)


def states(hub: RelayHub) -> list[str]:
    return [link.state.value for link in hub.links]


async def test_a_cut_link_goes_on_where_it_was(hub: RelayHub, enrolled: RelaySite) -> None:
    relay = await hub.dialler.connected(enrolled)
    stream, number = await streaming(hub, enrolled, relay)
    text = bytes(range(256)) * 4
    await relay.said(data(number, 0, text[:100]))
    assert await anext(stream) == text[:100]
    relay.cut()
    await eventually(lambda: states(hub) == ["parked"])
    assert not hub.backend.serves(cluster_of(enrolled), asking())

    assert relay.accept is not None
    again = await dialled_again(hub, relay)
    accept = await again.hello(hub=relay.accept.hub, bodies={number: len(asking().body)})
    assert accept.resumed
    assert list(accept.streams) == [number]
    state = accept.streams[number]
    assert (state.head, state.received, state.credit) == (True, 100, WINDOW)
    # It sends again some of what has come: nothing of it appears twice.
    await again.said(data(number, 40, text[40:500]), data(number, 500, text[500:]))
    await again.said(end(number, len(text)))
    assert await rest(stream) == text[100:]
    assert (await again.heard(FrameKind.ACK)).stream == number
    [health] = hub.links.health()
    assert (health.traffic.resumes, health.traffic.interrupted) == (1, 0)


async def test_what_the_relay_did_not_get_is_sent_again(hub: RelayHub, enrolled: RelaySite) -> None:
    relay = await hub.dialler.connected(enrolled)
    body = b"b" * (3 * MAX_DATA)
    cluster = cluster_of(enrolled)
    first = asyncio.create_task(hub.backend.infer(cluster, asking(body)))
    one, _, _ = await relay.request()
    second = asyncio.create_task(hub.backend.infer(cluster, asking(b"second")))
    two, lost, _ = await relay.request()
    relay.cut()
    await eventually(lambda: states(hub) == ["parked"])

    # The first request came but for the end of its body, of the second one nothing did.
    assert relay.accept is not None
    again = await dialled_again(hub, relay)
    accept = await again.hello(hub=relay.accept.hub, bodies={one: MAX_DATA + 5})
    assert set(accept.streams) == {one, two}
    came = {one: bytearray(body[: MAX_DATA + 5]), two: bytearray()}
    requests = []
    while bytes(came[one]) != body or bytes(came[two]) != b"second":
        frame = await again.next_frame()
        if frame.kind is FrameKind.REQUEST:
            requests.append((frame.stream, RelayRequest.from_payload(frame.payload)))
            continue
        assert frame.offset == len(came[frame.stream])
        came[frame.stream] += frame.payload
    # The same request under the same id, so that it runs once.
    assert requests == [(two, lost)]
    for number in (one, two):
        await again.said(head(number), end(number, 0))
    assert [answer.status for answer in await asyncio.gather(first, second)] == [200, 200]


async def test_credit_given_while_away_comes_with_the_accept(
    hub: RelayHub, enrolled: RelaySite
) -> None:
    relay = await hub.dialler.connected(enrolled)
    stream, number = await streaming(hub, enrolled, relay)
    await relay.said(*(data(number, k * MAX_DATA, b"x" * MAX_DATA) for k in range(4)))
    await eventually(lambda: stream.state.received == WINDOW)
    relay.cut()
    await eventually(lambda: states(hub) == ["parked"])
    assert len(await anext(stream)) == WINDOW
    reading = asyncio.create_task(anext(stream))
    await eventually(lambda: stream.state.credit == 2 * WINDOW)
    assert relay.accept is not None
    again = await dialled_again(hub, relay)
    accept = await again.hello(hub=relay.accept.hub, bodies={number: len(asking().body)})
    assert accept.streams[number].credit == 2 * WINDOW
    await again.said(data(number, WINDOW, b"on"), end(number, WINDOW + 2))
    assert await reading == b"on"
    assert await rest(stream) == b""


async def test_a_relay_that_dials_before_the_cut_shows_takes_over(
    hub: RelayHub, enrolled: RelaySite
) -> None:
    relay = await hub.dialler.connected(enrolled)
    stream, number = await streaming(hub, enrolled, relay)
    assert relay.accept is not None
    again = await dialled_again(hub, relay)
    assert (await again.hello(hub=relay.accept.hub, bodies={number: 8})).resumed
    await again.said(data(number, 0, b"on"), end(number, 2))
    assert await rest(stream) == b"on"
    assert states(hub) == ["ready"]
    assert await relay.closed() != 1000


async def test_who_leaves_while_the_link_is_cut_is_not_listed(
    hub: RelayHub, enrolled: RelaySite
) -> None:
    relay = await hub.dialler.connected(enrolled)
    stream, number = await streaming(hub, enrolled, relay)
    relay.cut()
    await eventually(lambda: states(hub) == ["parked"])
    await stream.aclose()
    assert relay.accept is not None
    again = await dialled_again(hub, relay)
    accept = await again.hello(hub=relay.accept.hub, bodies={number: 8})
    assert accept.resumed
    assert accept.streams == {}


async def test_what_the_relay_has_lost_is_no_more(hub: RelayHub, enrolled: RelaySite) -> None:
    """An answer that had begun cannot begin again."""
    relay = await hub.dialler.connected(enrolled)
    stream, _ = await streaming(hub, enrolled, relay)
    relay.cut()
    await eventually(lambda: states(hub) == ["parked"])
    assert relay.accept is not None
    again = await dialled_again(hub, relay)
    accept = await again.hello(hub=relay.accept.hub)
    assert (accept.resumed, accept.streams) == (True, {})
    with pytest.raises(errors.BackendInterrupted):
        await rest(stream)


async def test_more_of_a_body_than_there_is_breaks_the_protocol(
    hub: RelayHub, enrolled: RelaySite
) -> None:
    relay = await hub.dialler.connected(enrolled)
    stream, number = await streaming(hub, enrolled, relay)
    relay.cut()
    await eventually(lambda: states(hub) == ["parked"])
    assert relay.accept is not None
    again = await dialled_again(hub, relay)
    hello = Hello(
        instance=again.instance, link=again.link, paths=(), hub=relay.accept.hub,
        bodies={number: 10_000},
    )  # fmt: skip
    await again.said(Frame(FrameKind.HELLO, payload=hello.to_payload()))
    assert await again.closed() == 1002
    assert states(hub) == ["parked"]
    await stream.aclose()


@pytest.mark.parametrize(
    "named",
    [
        pytest.param({"link": ""}, id="no link"),
        pytest.param({"link": "l" * 256}, id="a long link"),
        pytest.param({"run": "r" * 256}, id="a long run"),
        pytest.param({"paths": ("/v1/x",) * 255}, id="many paths"),
        pytest.param({"paths": ("/" * 256,)}, id="a long path"),
    ],
)
async def test_a_hello_does_not_fill_the_hub(
    hub: RelayHub, enrolled: RelaySite, named: dict[str, Any]
) -> None:
    relay = await hub.dialler.dial(enrolled.credential())
    hello = replace(Hello(instance=relay.instance, link="l", paths=("/v1/x",)), **named)
    await relay.said(Frame(FrameKind.HELLO, payload=hello.to_payload()))
    assert await relay.closed() == 1002
    assert states(hub) == []


@pytest_asyncio.fixture
async def short(enrolled: RelaySite, tmp_path: Path) -> AsyncIterator[RelayHub]:
    """Return a hub that waits for cut links for a moment."""
    async with relay_hub(catalog_of(enrolled), tmp_path, resume_within_s=0.05) as hub:
        yield hub


async def test_after_its_time_a_link_is_not_resumed(short: RelayHub, enrolled: RelaySite) -> None:
    relay = await short.dialler.connected(enrolled)
    stream, number = await streaming(short, enrolled, relay)
    await relay.said(data(number, 0, b"so far"))
    assert await anext(stream) == b"so far"
    relay.cut()
    with pytest.raises(errors.BackendInterrupted) as caught:
        await anext(stream)
    assert caught.value.retry_after_s is None
    assert relay.accept is not None
    again = await dialled_again(short, relay)
    accept = await again.hello(hub=relay.accept.hub, bodies={number: 8})
    assert (accept.resumed, accept.streams) == (False, {})
    [health] = short.links.health()
    assert health.traffic.interrupted == 1


async def test_a_relay_that_begins_anew_ends_what_it_had(
    hub: RelayHub, enrolled: RelaySite
) -> None:
    relay = await hub.dialler.connected(enrolled)
    stream, _ = await streaming(hub, enrolled, relay)
    again = await dialled_again(hub, relay)
    assert not (await again.hello()).resumed
    with pytest.raises(errors.BackendInterrupted):
        await rest(stream)
    assert states(hub) == ["ready"]


async def test_another_instance_cannot_go_on_with_a_link(
    hub: RelayHub, enrolled: RelaySite
) -> None:
    relay = await hub.dialler.connected(enrolled)
    stream, number = await streaming(hub, enrolled, relay)
    assert relay.accept is not None
    thief = await hub.dialler.dial(
        enrolled.credential("instance-2"), instance="instance-2", link=relay.link
    )
    assert not (await thief.hello(hub=relay.accept.hub, bodies={number: 8})).resumed
    await relay.said(data(number, 0, b"mine"), end(number, 4))
    assert await rest(stream) == b"mine"


async def test_what_has_not_left_goes_to_another_instance(
    hub: RelayHub, enrolled: RelaySite
) -> None:
    """A link breaks with a request in its outbox: nothing of it ran, so another one takes it."""
    relay = await hub.dialler.connected(enrolled)
    other = await hub.dialler.connected(enrolled, "instance-2")
    [first, second] = hub.links
    busy = EngineLoad(running=9, waiting=0)
    await other.said(Frame(FrameKind.STATS, payload=busy.to_payload()))
    await eventually(lambda: second.busyness == 9)
    asked = asyncio.create_task(hub.backend.infer(cluster_of(enrolled), asking(b"me")))
    # The request is put, and in the same turn of the loop, before it is sent, the link is cut.
    while not first.requests:  # noqa: ASYNC110 - no event comes this early
        await asyncio.sleep(0)
    connection = first._connection  # noqa: SLF001 - nothing else breaks it at this moment
    assert connection is not None
    first.cut(connection, "test")
    number, _, body = await other.request()
    assert body == b"me"
    await other.said(head(number), end(number, 0))
    assert (await asked).status == 200
    relay.cut()


async def test_an_instance_that_drains_hands_its_requests_on(
    hub: RelayHub, enrolled: RelaySite
) -> None:
    first = await hub.dialler.connected(enrolled)
    asked = asyncio.create_task(hub.backend.infer(cluster_of(enrolled), asking()))
    number, request, _ = await first.request()
    second = await hub.dialler.connected(enrolled, "instance-2")
    await first.said(Frame(FrameKind.DRAIN), error(number, 0, FailureCode.DRAINING))
    # The second has come since the request was begun.
    number, other, _ = await second.request()
    assert other.request_id != request.request_id
    await second.said(head(number), end(number, 0))
    assert (await asked).status == 200
    assert sorted(states(hub)) == ["draining", "ready"]


@pytest.mark.parametrize(
    "code", [FailureCode.DRAINING, FailureCode.ENGINE_UNREACHABLE, FailureCode.BUSY]
)
async def test_a_refusal_before_anything_ran_is_tried_elsewhere(
    hub: RelayHub, enrolled: RelaySite, code: FailureCode
) -> None:
    relays = [await hub.dialler.connected(enrolled, f"instance-{n}") for n in range(2)]
    asked = asyncio.create_task(hub.backend.infer(cluster_of(enrolled), asking()))
    number, _, _ = await relays[0].request()
    await relays[0].said(error(number, 0, code))
    number, _, _ = await relays[1].request()
    await relays[1].said(head(number), end(number, 0))
    assert (await asked).status == 200


async def test_requests_go_where_the_least_work_is(hub: RelayHub, enrolled: RelaySite) -> None:
    relays = [await hub.dialler.connected(enrolled, f"instance-{n}") for n in range(3)]
    # Others keep the first engine busy.
    load = EngineLoad(running=5, waiting=5)
    await relays[0].said(Frame(FrameKind.STATS, payload=load.to_payload()))
    [first, *_] = hub.links
    await eventually(lambda: first.busyness == 10)
    cluster = cluster_of(enrolled)
    asked = [asyncio.create_task(hub.backend.stream(cluster, asking())) for _ in range(6)]
    await eventually(lambda: sum(link.requests for link in hub.links) == 6)
    assert [link.requests for link in hub.links] == [0, 3, 3]
    for task in asked:
        task.cancel()
    await asyncio.wait(asked)


async def test_a_relay_that_stops_is_not_waited_for(hub: RelayHub, enrolled: RelaySite) -> None:
    relay = await hub.dialler.connected(enrolled)
    stream, number = await streaming(hub, enrolled, relay)
    await relay.said(data(number, 0, b"so far"))
    assert await anext(stream) == b"so far"
    await relay.socket.close(code=1001)
    with pytest.raises(errors.BackendInterrupted) as caught:
        await anext(stream)
    assert caught.value.retry_after_s is None
    assert states(hub) == []


async def test_any_other_close_of_a_relay_s_is_a_cut(hub: RelayHub, enrolled: RelaySite) -> None:
    relay = await hub.dialler.connected(enrolled)
    stream, number = await streaming(hub, enrolled, relay)
    await relay.socket.close(code=1000)
    await eventually(lambda: states(hub) == ["parked"])
    assert relay.accept is not None
    again = await dialled_again(hub, relay)
    assert (await again.hello(hub=relay.accept.hub, bodies={number: 8})).resumed
    await again.said(data(number, 0, b"on"), end(number, 2))
    assert await rest(stream) == b"on"


async def test_an_affinity_stays_on_its_instance_while_load_allows(
    hub: RelayHub, enrolled: RelaySite
) -> None:
    for n in range(4):
        await hub.dialler.connected(enrolled, f"instance-{n}")
    cluster = cluster_of(enrolled)
    chosen = set()
    for _ in range(8):
        asked = asyncio.create_task(hub.backend.stream(cluster, asking(affinity="session")))
        await eventually(lambda: any(link.requests for link in hub.links))
        chosen |= {link.name for link in hub.links if link.requests}
        asked.cancel()
        await asyncio.wait({asked})
    assert len(chosen) == 1


async def test_a_path_that_no_instance_has_is_refused_at_once(
    hub: RelayHub, enrolled: RelaySite
) -> None:
    await hub.dialler.connected(enrolled)
    with pytest.raises(errors.InvalidRequest, match="route"):
        await hub.backend.infer(cluster_of(enrolled), asking(path="/v1/rerank"))


async def test_without_a_link_the_model_does_not_run(hub: RelayHub, enrolled: RelaySite) -> None:
    with pytest.raises(errors.ModelNotRunning):
        await hub.backend.infer(cluster_of(enrolled), asking())
    assert not hub.backend.serves(cluster_of(enrolled), asking())


async def test_while_its_link_is_cut_a_model_is_back_soon(
    hub: RelayHub, enrolled: RelaySite
) -> None:
    relay = await hub.dialler.connected(enrolled)
    relay.cut()
    await eventually(lambda: states(hub) == ["parked"])
    with pytest.raises(errors.BackendUnavailable) as caught:
        await hub.backend.infer(cluster_of(enrolled), asking())
    assert caught.value.retry_after_s is not None
    assert "local" in caught.value.message


async def test_sessions_are_renewed_before_they_end(enrolled: RelaySite, tmp_path: Path) -> None:
    async with relay_hub(catalog_of(enrolled), tmp_path, session_s=2.0) as hub:
        relay = await hub.dialler.connected(enrolled)
        renewal = Renewal.from_payload((await relay.heard(FrameKind.RENEW)).payload)
        assert renewal.session_s == 2.0
        assert relay.accept is not None
        assert renewal.session != relay.accept.session
        again = await hub.dialler.dial(renewal.session)
        assert not (await again.hello()).resumed


async def test_a_site_that_enrols_anew_loses_its_links(enrolled: RelaySite, tmp_path: Path) -> None:
    current = [catalog_of(enrolled)]
    async with relay_hub(lambda: current[0], tmp_path) as hub:
        relay = await hub.dialler.connected(enrolled)
        stream, _ = await streaming(hub, enrolled, relay)
        current[0] = catalog_of(RelaySite.enrolled())
        with pytest.raises(errors.BackendInterrupted):
            await rest(stream)
        assert await relay.closed() == 1008
        assert relay.accept is not None
        assert await hub.dialler.refused(relay.accept.session) == 401
        current[0] = Catalog()
        assert await hub.dialler.refused(relay.accept.session) == 403


async def test_a_hub_that_stops_waits_for_its_streams(enrolled: RelaySite, tmp_path: Path) -> None:
    times = ListenerTimes(grace_s=30.0)
    async with relay_hub(catalog_of(enrolled), tmp_path, times=times) as hub:
        relay = await hub.dialler.connected(enrolled)
        stream, number = await streaming(hub, enrolled, relay)
        stopping = asyncio.create_task(hub.links.close(grace_s=30.0))
        await relay.heard(FrameKind.DRAIN)
        with pytest.raises(errors.UpstreamError) as caught:
            await hub.backend.infer(cluster_of(enrolled), asking())
        assert caught.value.retry_after_s is not None
        await relay.said(data(number, 0, b"all"), end(number, 3))
        assert await rest(stream) == b"all"
        await stopping
        assert await relay.closed() == 1001


async def test_what_is_left_when_a_hub_stops_ends_with_an_honest_error(
    enrolled: RelaySite, tmp_path: Path
) -> None:
    with capture_logs() as logs:
        async with relay_hub(catalog_of(enrolled), tmp_path) as hub:
            relay = await hub.dialler.connected(enrolled)
            stream, number = await streaming(hub, enrolled, relay)
            await relay.said(data(number, 0, b"half"))
            assert await anext(stream) == b"half"
            await hub.links.close(grace_s=0.05)
            with pytest.raises(errors.BackendInterrupted) as caught:
                await rest(stream)
            assert await relay.closed() == 1001
    assert caught.value.retry_after_s is None
    assert [entry["event"] for entry in logs if entry["event"].startswith("relay_")] == [
        "relay_connected",
        "relay_gone",
    ]


async def test_the_log_tells_a_link_s_life(short: RelayHub, enrolled: RelaySite) -> None:
    with capture_logs() as logs:
        relay = await short.dialler.connected(enrolled)
        relay.cut()
        await eventually(lambda: not list(short.links))
    events = [entry["event"] for entry in logs]
    assert events == ["relay_connected", "relay_cut", "relay_gone"]
    assert all(entry["cluster"] == "local" for entry in logs)
    assert all(entry["instance"] == "instance-1" for entry in logs)


async def test_a_relay_that_answers_no_ping_is_given_up(
    enrolled: RelaySite, tmp_path: Path
) -> None:
    times = ListenerTimes(ping_s=0.05, grace_s=0.05)
    async with relay_hub(catalog_of(enrolled), tmp_path, times=times) as hub:
        # The double reads, and so answers pings, only while it waits for something.
        await hub.dialler.connected(enrolled)
        await eventually(lambda: states(hub) == ["parked"])


async def test_more_requests_than_a_process_holds_are_refused(
    enrolled: RelaySite, tmp_path: Path
) -> None:
    async with relay_hub(catalog_of(enrolled), tmp_path, limits=HubLimits(bodies=100)) as hub:
        relay = await hub.dialler.connected(enrolled)
        cluster = cluster_of(enrolled)
        first = asyncio.create_task(hub.backend.infer(cluster, asking(b"x" * 80)))
        number, _, _ = await relay.request()
        with pytest.raises(errors.BackendUnavailable, match="under way") as caught:
            await hub.backend.infer(cluster, asking(b"x" * 30))
        assert caught.value.retry_after_s is not None
        await relay.said(head(number), end(number, 0))
        await first
        again = asyncio.create_task(hub.backend.infer(cluster, asking(b"x" * 100)))
        await relay.heard(FrameKind.ACK)
        number, _, _ = await relay.request()
        await relay.said(head(number), end(number, 0))
        assert (await again).status == 200
