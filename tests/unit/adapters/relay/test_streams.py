"""What a hub makes of an answer's frames, right and wrong."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from compute_functions.contract import FailureCode
from compute_functions.contract.frames import MAX_DATA, MAX_MESSAGE, WINDOW, Frame, FrameKind
from resource_server.adapters.relay.stream import RelayStream
from resource_server.domain import errors
from resource_server.domain.inference import Stopped
from tests.support.relay_double import RelayDouble, data, end, error, head
from tests.support.relay_hub import RelayHub, asking, cluster_of, relay_hub
from tests.support.relay_site import PATH, RelaySite, catalog_of


async def opened(hub: RelayHub, site: RelaySite, relay: RelayDouble) -> tuple[RelayStream, int]:
    """Return a stream whose head has come, and its number."""
    opening = asyncio.create_task(hub.backend.stream(cluster_of(site), asking()))
    number, _, _ = await relay.request()
    await relay.said(head(number))
    return await opening, number


async def rest(stream: RelayStream) -> bytes:
    return b"".join([piece async for piece in stream])


async def test_a_request_crosses_whole_and_its_answer_comes_back(
    hub: RelayHub, enrolled: RelaySite
) -> None:
    relay = await hub.dialler.connected(enrolled)
    body = secrets.token_bytes(300_000)
    asked = asyncio.create_task(hub.backend.infer(cluster_of(enrolled), asking(body)))
    number, request, came = await relay.request()
    assert came == body
    assert (request.path, request.body_bytes) == (PATH, len(body))
    assert 0 < request.timeout_s <= 30
    assert request.silence_s == 17
    answer = b"x" * 70_000
    frames = [data(number, 0, answer[:MAX_DATA]), data(number, MAX_DATA, answer[MAX_DATA:])]
    await relay.said(
        head(number, 429, {"content-type": "text/plain", "retry-after": "7", "server": "s"}),
        *frames,
        end(number, len(answer)),
    )
    back = await asked
    assert (back.status, back.body, back.content_type) == (429, answer, "text/plain")
    assert (back.transport, back.task_id) == ("relay", None)
    assert back.headers == {"retry-after": "7"}
    assert back.hops.engine_s == pytest.approx(0.002)
    assert back.hops.site_s == pytest.approx(0.001)
    assert (await relay.heard(FrameKind.ACK)).stream == number


async def test_pieces_come_as_they_are_sent(hub: RelayHub, enrolled: RelaySite) -> None:
    relay = await hub.dialler.connected(enrolled)
    stream, number = await opened(hub, enrolled, relay)
    at = 0
    for piece in (b"data: 1\n\n", b"data: 2\n\n"):
        await relay.said(data(number, at, piece))
        at += len(piece)
        assert await anext(stream) == piece
    await relay.said(end(number, at))
    assert await rest(stream) == b""
    assert stream.hops.engine_s > 0
    await stream.aclose()
    assert (await relay.heard(FrameKind.ACK)).stream == number


async def test_each_attempt_has_an_id_of_its_own(hub: RelayHub, enrolled: RelaySite) -> None:
    relay = await hub.dialler.connected(enrolled)
    ids = set()
    for _ in range(3):
        asked = asyncio.create_task(hub.backend.infer(cluster_of(enrolled), asking()))
        number, request, _ = await relay.request()
        ids.add(request.request_id)
        await relay.said(head(number), end(number, 0))
        await asked
        await relay.heard(FrameKind.ACK)
    assert len(ids) == 3


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(lambda n: [head(n), data(n, 5, b"x")], id="a gap"),
        pytest.param(lambda n: [head(n), end(n, 5)], id="END of another length"),
        pytest.param(lambda n: [error(n, 5, FailureCode.ENGINE_BROKE_OFF)], id="ERROR likewise"),
        pytest.param(lambda n: [data(n, 0, b"x")], id="DATA before HEAD"),
        pytest.param(lambda n: [end(n, 0)], id="END before HEAD"),
        pytest.param(lambda n: [head(n), head(n)], id="two heads"),
        pytest.param(lambda n: [head(n), data(n, 0, b"x" * (MAX_DATA + 1))], id="too much DATA"),
        pytest.param(
            lambda n: [
                head(n),
                *(data(n, k * MAX_DATA, b"x" * MAX_DATA) for k in range(WINDOW // MAX_DATA)),
                data(n, WINDOW, b"x"),
            ],
            id="beyond the credit",
        ),
        pytest.param(lambda n: [Frame(FrameKind.HEAD, n, 0, b"{")], id="a HEAD that is none"),
        pytest.param(lambda n: [Frame(FrameKind.CANCEL, n)], id="what only a hub says"),
        pytest.param(lambda _: [Frame(FrameKind.HELLO)], id="HELLO again"),
    ],
)
async def test_what_breaks_the_protocol_ends_the_link(
    hub: RelayHub, enrolled: RelaySite, wrong
) -> None:
    relay = await hub.dialler.connected(enrolled)
    asked = asyncio.create_task(hub.backend.infer(cluster_of(enrolled), asking()))
    number, _, _ = await relay.request()
    await relay.said(*wrong(number))
    with pytest.raises(errors.BackendInterrupted) as caught:
        await asked
    assert caught.value.retry_after_s is None
    assert await relay.closed() == 1002
    assert not hub.backend.serves(cluster_of(enrolled), asking())


async def test_an_oversize_message_ends_the_link(hub: RelayHub, enrolled: RelaySite) -> None:
    relay = await hub.dialler.connected(enrolled)
    stream, _ = await opened(hub, enrolled, relay)
    await relay.socket.send_bytes(b"x" * (MAX_MESSAGE + 1))
    with pytest.raises(errors.BackendInterrupted):
        await rest(stream)
    assert await relay.closed() == 1009


async def test_the_largest_message_is_taken(hub: RelayHub, enrolled: RelaySite) -> None:
    relay = await hub.dialler.connected(enrolled)
    stream, number = await opened(hub, enrolled, relay)
    # Frames about a stream that nobody knows are passed over.
    filler = [data(999, 0, b"x" * 1000)] * 500
    last = data(number, 0, b"here")
    size = sum(17 + len(frame.payload) for frame in [*filler, last])
    filler.append(data(999, 0, b"x" * (MAX_MESSAGE - size - 17)))
    await relay.said(*filler, last)
    assert await anext(stream) == b"here"
    await stream.aclose()


async def test_text_breaks_the_protocol(hub: RelayHub, enrolled: RelaySite) -> None:
    relay = await hub.dialler.connected(enrolled)
    await relay.socket.send_str("hello")
    assert await relay.closed() == 1002


@pytest.mark.parametrize(
    ("code", "kind", "may_repeat"),
    [
        (FailureCode.ENGINE_TIMEOUT, errors.BackendTimeout, False),
        (FailureCode.ENGINE_UNREACHABLE, errors.BackendUnavailable, True),
        (FailureCode.BUSY, errors.BackendUnavailable, True),
        (FailureCode.SITE_FAILED, errors.BackendInterrupted, False),
        (FailureCode.MODEL_NOT_RUNNING, errors.ModelNotRunning, True),
        (FailureCode.DRAINING, errors.BackendUnavailable, True),
        (FailureCode.DUPLICATE, errors.BackendUnavailable, False),
        (FailureCode.PATH_NOT_ALLOWED, errors.InvalidRequest, False),
        (FailureCode.ENGINE_BROKE_OFF, errors.BackendInterrupted, False),
    ],
)
async def test_a_failure_of_the_site_is_an_error_of_ours(
    hub: RelayHub,
    enrolled: RelaySite,
    code: FailureCode,
    kind: type[errors.HotnodeError],
    may_repeat: bool,
) -> None:
    relay = await hub.dialler.connected(enrolled)
    asked = asyncio.create_task(hub.backend.infer(cluster_of(enrolled), asking()))
    number, _, _ = await relay.request()
    await relay.said(error(number, 0, code))
    with pytest.raises(kind) as caught:
        await asked
    assert (caught.value.retry_after_s is not None) is may_repeat
    assert (await relay.heard(FrameKind.ACK)).stream == number


async def test_a_failure_within_the_answer_comes_after_what_came(
    hub: RelayHub, enrolled: RelaySite
) -> None:
    relay = await hub.dialler.connected(enrolled)
    stream, number = await opened(hub, enrolled, relay)
    await relay.said(data(number, 0, b"half"), error(number, 4, FailureCode.ENGINE_UNREACHABLE))
    assert await anext(stream) == b"half"
    with pytest.raises(errors.BackendUnavailable) as caught:
        await anext(stream)
    assert caught.value.retry_after_s is None
    await stream.aclose()


async def test_a_failure_that_is_not_known_ends_its_stream_alone(
    hub: RelayHub, enrolled: RelaySite
) -> None:
    relay = await hub.dialler.connected(enrolled)
    stream, number = await opened(hub, enrolled, relay)
    other, second = await opened(hub, enrolled, relay)
    await relay.said(
        Frame(FrameKind.ERROR, number, 0, b'{"code": "of_tomorrow", "message": ""}'),
        data(second, 0, b"on"),
    )
    with pytest.raises(errors.BackendUnavailable) as caught:
        await rest(stream)
    assert caught.value.retry_after_s is None
    assert await anext(other) == b"on"
    await other.aclose()


async def test_a_status_that_http_does_not_know_ends_its_stream_alone(
    hub: RelayHub, enrolled: RelaySite
) -> None:
    relay = await hub.dialler.connected(enrolled)
    asked = asyncio.create_task(hub.backend.infer(cluster_of(enrolled), asking()))
    number, _, _ = await relay.request()
    await relay.said(head(number, 99))
    with pytest.raises(errors.BackendUnavailable, match="operators") as caught:
        await asked
    assert caught.value.retry_after_s is None
    assert (await relay.heard(FrameKind.CANCEL)).stream == number
    assert hub.backend.serves(cluster_of(enrolled), asking())


async def test_a_slow_reader_holds_up_nobody(hub: RelayHub, enrolled: RelaySite) -> None:
    relay = await hub.dialler.connected(enrolled)
    slow, first = await opened(hub, enrolled, relay)
    full = [data(first, k * MAX_DATA, b"s" * MAX_DATA) for k in range(WINDOW // MAX_DATA)]
    await relay.said(*full)
    quick, second = await opened(hub, enrolled, relay)
    for n in range(100):
        await relay.said(data(second, n, b"q"))
        assert await anext(quick) == b"q"
    # Nothing was read of the slow one, so that nothing more of it may be sent.
    await relay.said(end(second, 100))
    assert (await relay.heard(FrameKind.ACK)).stream == second
    assert len(await anext(slow)) == WINDOW
    reading = asyncio.create_task(anext(slow))
    credit = await relay.heard(FrameKind.CREDIT)
    assert (credit.stream, credit.offset) == (first, 2 * WINDOW)
    await relay.said(data(first, WINDOW, b"more"), end(first, WINDOW + 4))
    assert await reading == b"more"
    assert await rest(slow) == b""
    await quick.aclose()


async def test_a_whole_answer_of_many_windows_gets_its_credit(
    hub: RelayHub, enrolled: RelaySite
) -> None:
    relay = await hub.dialler.connected(enrolled)
    asked = asyncio.create_task(hub.backend.infer(cluster_of(enrolled), asking()))
    number, _, _ = await relay.request()
    await relay.said(head(number))
    at, credit, size = 0, WINDOW, 5 * WINDOW
    while at < size:
        while at + MAX_DATA > credit:
            credit = (await relay.heard(FrameKind.CREDIT)).offset
        await relay.said(data(number, at, b"x" * MAX_DATA))
        at += MAX_DATA
    await relay.said(end(number, size))
    assert len((await asked).body) == size


async def test_who_leaves_has_the_request_cancelled(hub: RelayHub, enrolled: RelaySite) -> None:
    relay = await hub.dialler.connected(enrolled)
    late: list[Any] = []
    asked = asyncio.create_task(hub.backend.infer(cluster_of(enrolled), asking(), late=late.append))
    number, _, _ = await relay.request()
    asked.cancel()
    await asyncio.wait({asked})
    assert (await relay.heard(FrameKind.CANCEL)).stream == number
    assert late == [Stopped.CANCELLED]
    # What crossed the CANCEL is passed over.
    await relay.said(head(number), data(number, 0, b"x"), end(number, 1))
    stream, _ = await opened(hub, enrolled, relay)
    await stream.aclose()
    assert (await relay.heard(FrameKind.CANCEL)).kind is FrameKind.CANCEL
    assert [health.requests for health in hub.links.health()] == [0]


async def test_a_stream_that_is_closed_stops_the_engine(hub: RelayHub, enrolled: RelaySite) -> None:
    relay = await hub.dialler.connected(enrolled)
    stream, number = await opened(hub, enrolled, relay)
    await relay.said(data(number, 0, b"some"))
    assert await anext(stream) == b"some"
    await stream.aclose()
    await stream.aclose()
    assert (await relay.heard(FrameKind.CANCEL)).stream == number


async def test_a_relay_that_says_nothing_is_given_up(enrolled: RelaySite, tmp_path: Path) -> None:
    async with relay_hub(catalog_of(enrolled), tmp_path, margin_s=0.0) as hub:
        relay = await hub.dialler.connected(enrolled)
        asked = asyncio.create_task(hub.backend.infer(cluster_of(enrolled), asking(timeout_s=0.05)))
        number, _, _ = await relay.request()
        with pytest.raises(errors.BackendTimeout) as caught:
            await asked
        assert caught.value.retry_after_s is None
        assert (await relay.heard(FrameKind.CANCEL)).stream == number


async def test_a_stream_that_falls_silent_is_given_up(enrolled: RelaySite, tmp_path: Path) -> None:
    impatient = replace(cluster_of(enrolled), request_timeout_s=0.05)
    async with relay_hub(catalog_of(enrolled), tmp_path, margin_s=0.0) as hub:
        relay = await hub.dialler.connected(enrolled)
        opening = asyncio.create_task(hub.backend.stream(impatient, asking()))
        number, _, _ = await relay.request()
        await relay.said(head(number), data(number, 0, b"and then"))
        stream = await opening
        assert await anext(stream) == b"and then"
        with pytest.raises(errors.BackendTimeout):
            await anext(stream)
        assert (await relay.heard(FrameKind.CANCEL)).stream == number


async def test_an_answer_that_is_too_large_is_cancelled(
    enrolled: RelaySite, tmp_path: Path
) -> None:
    async with relay_hub(catalog_of(enrolled), tmp_path, most_answer=10) as hub:
        relay = await hub.dialler.connected(enrolled)
        asked = asyncio.create_task(hub.backend.infer(cluster_of(enrolled), asking()))
        number, _, _ = await relay.request()
        await relay.said(head(number), data(number, 0, b"x" * 11))
        with pytest.raises(errors.AnswerTooLarge, match="larger than 10 bytes"):
            await asked
        assert (await relay.heard(FrameKind.CANCEL)).stream == number
