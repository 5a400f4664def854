"""How a pushed answer ends whose engine fails: whether it was asked is said."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from compute_functions.contract.failures import FailureCode
from compute_functions.contract.frames import FrameKind, decoded
from compute_functions.contract.relay import AnswerError
from compute_functions.engine_client import Call, Engine
from compute_functions.pushed_call import PushedCall
from tests.support.engine_doubles import listening
from tests.support.paced_engine import PacedEngine


async def last(endpoint: str | Path, **asked: object) -> AnswerError:
    """Return the error in which the pushed answer to a request ends."""
    call = Call(
        path="/v1/chat/completions",
        headers={"x-request-id": "r"},
        body=json.dumps(asked).encode(),
        timeout_s=10.0,
        max_bytes=0,
    )
    engine = Engine(endpoint=str(endpoint), api_key="k")
    pushed = PushedCall(engine, call, silence_s=10.0, started=time.monotonic())
    *_, frame = decoded(b"".join([part async for part in pushed.frames()]))
    assert frame.kind is FrameKind.ERROR
    return AnswerError.from_payload(frame.payload)


async def test_an_engine_that_is_not_there_has_run_nothing(tmp_path: Path) -> None:
    assert (await last(tmp_path / "gone.sock")).code is FailureCode.ENGINE_UNREACHABLE


@pytest.mark.parametrize("at", [0, 1, 3])
async def test_an_engine_that_breaks_off_may_have_run_it(at: int) -> None:
    async with listening(PacedEngine()) as socket:
        assert (await last(socket, break_at=at)).code is FailureCode.ENGINE_BROKE_OFF
