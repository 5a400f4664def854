"""What a relay says of requests that it cannot run, and of those in which it fails itself."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from typing_extensions import override

from compute_functions.contract.failures import FailureCode
from compute_functions.contract.frames import WINDOW, Frame, FrameKind, decoded
from compute_functions.contract.relay import AnswerError, RelayRequest
from compute_functions.engine_client import Engine
from compute_functions.relay.engine_calls import EngineCall, EngineCalls
from compute_functions.relay.outbox import Outbox
from compute_functions.relay.streams import MOST_BODY_BYTES, Service, Streams

PATH = "/v1/chat/completions"


class CallsThatFail(EngineCalls):
    """Has a fault of its own."""

    @override
    def call(
        self, path: str, *, headers: Mapping[str, str], body: bytes = b"", method: str = "POST"
    ) -> EngineCall:
        raise RuntimeError("a fault")


async def said(service: Service) -> AnswerError:
    """Put a request of one byte to the streams, and return what they say."""
    messages: asyncio.Queue[bytes] = asyncio.Queue()
    outbox = Outbox()
    streams = Streams(service, outbox)
    request = RelayRequest(request_id="r", path=PATH, body_bytes=1, timeout_s=5.0, silence_s=5.0)
    async with outbox.flowing(messages.put):
        streams.take(Frame(FrameKind.REQUEST, 1, WINDOW, request.to_payload()))
        streams.take(Frame(FrameKind.DATA, 1, 0, b"x"))
        async with asyncio.timeout(10):
            [frame] = decoded(await messages.get())
        await streams.close()
    assert frame.kind is FrameKind.ERROR
    return AnswerError.from_payload(frame.payload)


def service(calls: type[EngineCalls], promised: int = 0) -> Service:
    engine = Engine(endpoint="/nowhere/engine.sock", api_key="k")
    return Service(calls=calls(engine), paths={PATH: PATH}, promised=promised)


async def test_a_relay_without_room_has_run_nothing() -> None:
    full = service(EngineCalls, promised=MOST_BODY_BYTES)
    assert (await said(full)).code is FailureCode.BUSY
    assert full.promised == MOST_BODY_BYTES
    # Its id is free: the request may come again.
    assert full.recent.begin("r")


async def test_a_relay_that_fails_itself_may_have_run_it() -> None:
    failing = service(CallsThatFail)
    assert (await said(failing)).code is FailureCode.SITE_FAILED
    assert failing.promised == 0


async def test_an_engine_that_is_not_there_has_run_nothing() -> None:
    assert (await said(service(EngineCalls))).code is FailureCode.ENGINE_UNREACHABLE
