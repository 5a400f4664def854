"""A real vLLM's end: asked to stop it finishes what it has begun, killed it is noticed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest

from compute_functions import run_request
from compute_functions.contract import (
    EngineAnswer,
    EngineRequest,
    FailureCode,
    SiteFailure,
    read_reply,
)
from compute_functions.site import VARIABLE
from tests.support.engine import RunningEngine, running_engine
from tests.support.eventually import eventually
from tests.support.process_table import listener, session

pytestmark = pytest.mark.timeout(400)


async def ask(engine: RunningEngine, tokens: int) -> EngineAnswer | SiteFailure:
    """Have the engine write so many tokens."""
    body = {"model": engine.model, "prompt": "Hello", "max_tokens": tokens, "ignore_eos": True}
    request = EngineRequest(
        request_id="lifecycle",
        framework=engine.framework,
        model=engine.model,
        path="/v1/completions",
        body=json.dumps(body).encode(),
        timeout_s=60,
    )
    reply = read_reply(await run_request.answer(request.to_wire()))
    assert isinstance(reply, EngineAnswer | SiteFailure)
    return reply


async def gone(leader: int) -> None:
    """Wait until no process of the engine is left."""
    await eventually(lambda: not session(leader), seconds=30)


async def test_a_stop_lets_requests_finish_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    async with running_engine(tmp_path) as engine:
        socket = str(engine.registration()["endpoint"])
        leader = listener(socket)
        assert len(session(leader)) > 1
        under_way = asyncio.create_task(ask(engine, 1000))
        await asyncio.wait({under_way}, timeout=0.3)
        engine.launcher.terminate()
        reply = await under_way
        status = await engine.launcher.left(within_s=60)

    assert isinstance(reply, EngineAnswer)
    assert reply.status == 200
    assert json.loads(reply.body)["usage"]["completion_tokens"] == 1000
    assert status == 0
    assert engine.registration()["state"] == "stopped"
    with pytest.raises(FileNotFoundError):
        listener(socket)
    await gone(leader)


async def test_an_engine_that_is_killed_is_unreachable_and_then_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    async with running_engine(tmp_path) as engine:
        leader = listener(str(engine.registration()["endpoint"]))
        # While the launcher cannot look, the registration still says "ready".
        os.kill(engine.launcher.pid, signal.SIGSTOP)
        os.killpg(leader, signal.SIGKILL)
        await gone(leader)
        at_once = await ask(engine, 1)
        os.kill(engine.launcher.pid, signal.SIGCONT)
        status = await engine.launcher.left(within_s=60)
        later = await ask(engine, 1)

    assert isinstance(at_once, SiteFailure)
    # The kernel takes a connection as long as one of the dying processes holds the socket; then
    # nobody can say that the request did not run.
    assert at_once.code in {FailureCode.ENGINE_UNREACHABLE, FailureCode.ENGINE_BROKE_OFF}
    assert isinstance(later, SiteFailure)
    assert later.code is FailureCode.MODEL_NOT_RUNNING
    assert status == 1
    assert engine.registration()["state"] == "failed"
    assert "ended by itself" in str(engine.registration()["detail"])
