"""How a pushed answer ends whose engine fails: whether it was asked is said."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from compute_functions.contract.failures import FailureCode
from compute_functions.contract.frames import FrameKind, decoded
from compute_functions.contract.relay import AnswerError
from compute_functions.engine_client import CONNECT_TIMEOUT_S, Call, Engine
from compute_functions.pushed_call import PushedCall
from tests.support.engine_doubles import listening
from tests.support.paced_engine import PacedEngine

#: The fingerprint of no certificate.
NOBODY = "00" * 32


def pushed(
    *endpoints: str | Path, connect_s: float = CONNECT_TIMEOUT_S, **asked: object
) -> PushedCall:
    """Return a call of the first of these engines that can be reached."""
    call = Call(
        path="/v1/chat/completions",
        headers={"x-request-id": "r"},
        body=json.dumps(asked).encode(),
        timeout_s=10.0,
        max_bytes=0,
    )
    ways = [
        (Engine(endpoint=str(one), api_key="k", fingerprint=NOBODY, connect_s=connect_s), call)
        for one in endpoints
    ]
    return PushedCall(ways, silence_s=10.0, started=time.monotonic())


async def last(*endpoints: str | Path, **asked: Any) -> AnswerError:
    """Return the error in which the pushed answer to a request ends."""
    call = pushed(*endpoints, **asked)
    *_, frame = decoded(b"".join([part async for part in call.frames()]))
    assert frame.kind is FrameKind.ERROR
    return AnswerError.from_payload(frame.payload)


async def test_an_engine_that_is_not_there_has_run_nothing(tmp_path: Path) -> None:
    assert (await last(tmp_path / "gone.sock")).code is FailureCode.ENGINE_UNREACHABLE


async def test_where_no_door_is_reached_it_is_as_if_none_ran(unused_tcp_port: int) -> None:
    door = f"https://127.0.0.1:{unused_tcp_port}"
    assert (await last(door)).code is FailureCode.MODEL_NOT_RUNNING


async def test_a_node_that_takes_no_connection_has_run_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        # It takes no part in TLS.
        door = f"https://127.0.0.1:{silent.getsockname()[1]}"
        call = pushed(door, connect_s=0.2)
        *_, frame = decoded(b"".join([part async for part in call.frames()]))
    assert AnswerError.from_payload(frame.payload).code is FailureCode.MODEL_NOT_RUNNING


@pytest.mark.row("C-56")
async def test_what_one_instance_was_never_sent_another_answers(
    tmp_path: Path, unused_tcp_port: int
) -> None:
    gone = f"https://127.0.0.1:{unused_tcp_port}"
    async with listening(PacedEngine()) as engine:
        call = pushed(gone, tmp_path / "gone.sock", engine, tokens=2)
        frames = list(decoded(b"".join([part async for part in call.frames()])))
    kinds = {frame.kind for frame in frames}
    assert frames[-1].kind is FrameKind.END
    assert kinds == {FrameKind.HEAD, FrameKind.DATA, FrameKind.END}


async def test_what_may_have_run_is_not_asked_of_another() -> None:
    async with listening(PacedEngine()) as one, listening(PacedEngine()) as other:
        assert (await last(one, other, break_at=0)).code is FailureCode.ENGINE_BROKE_OFF


@pytest.mark.parametrize("at", [0, 1, 3])
async def test_an_engine_that_breaks_off_may_have_run_it(at: int) -> None:
    async with listening(PacedEngine()) as engine:
        assert (await last(engine, break_at=at)).code is FailureCode.ENGINE_BROKE_OFF
