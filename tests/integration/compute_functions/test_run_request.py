"""One request at the site: every answer and every failure is a value."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import json
import math
import random
import time
from pathlib import Path
from typing import Any

import pytest

from compute_functions import contract, run_request
from compute_functions.contract import (
    FOR_BATCHES,
    EngineAnswer,
    EngineRequest,
    FailureCode,
    InstanceState,
    SiteFailure,
    read_reply,
)
from compute_functions.site import VARIABLE, SiteDirectory
from tests.support.engine_doubles import (
    FRAMEWORK,
    KEY,
    MODEL,
    EngineThatEchoes,
    EngineThatHangsUp,
    EngineThatNeverAnswers,
    EngineThatRefuses,
    EngineThatSaysTooMuch,
    EngineThatSums,
    listening,
    listening_on_port,
    registration,
)

REQUEST = EngineRequest(
    request_id="r-1",
    framework=FRAMEWORK,
    model=MODEL,
    path="/v1/chat/completions",
    body=b'{"model": "vendor/model"}',
    timeout_s=30.0,
)


async def ask(**changes: Any) -> EngineAnswer | SiteFailure:
    """Send the request as Globus Compute would, in JSON, and read the reply as the gateway does."""
    wire = json.loads(json.dumps(dataclasses.replace(REQUEST, **changes).to_wire()))
    reply = read_reply(json.loads(json.dumps(await run_request.answer(wire))))
    assert isinstance(reply, EngineAnswer | SiteFailure)
    return reply


async def failure(**changes: Any) -> FailureCode:
    reply = await ask(**changes)
    assert isinstance(reply, SiteFailure), reply
    return reply.code


async def test_the_body_goes_to_the_engine_and_its_answer_comes_back(site: SiteDirectory) -> None:
    async with listening(EngineThatEchoes()) as engine:
        registration(site, engine)
        reply = await ask()

    assert isinstance(reply, EngineAnswer)
    assert reply.status == 200
    assert json.loads(reply.body)["path"] == "/v1/chat/completions"
    assert json.loads(reply.body)["body"] == '{"model": "vendor/model"}'
    assert 0 < reply.engine_s <= reply.site_s


async def test_no_caller_is_sent_to_an_instance_for_batches(site: SiteDirectory) -> None:
    async with listening(EngineThatEchoes()) as engine:
        registration(site, engine, purpose=FOR_BATCHES)
        assert await failure() is FailureCode.MODEL_NOT_RUNNING


async def test_the_engine_sees_its_key_and_the_allowed_headers_only(site: SiteDirectory) -> None:
    async with listening(EngineThatEchoes()) as engine:
        registration(site, engine)
        headers = {"Accept": "text/plain", "Authorization": "Bearer user", "Cookie": "c=1"}
        reply = await ask(headers=headers)

    assert isinstance(reply, EngineAnswer)
    seen = {name.lower(): value for name, value in json.loads(reply.body)["headers"].items()}
    assert seen["authorization"] == f"Bearer {KEY}"
    assert seen["accept"] == "text/plain"
    assert seen["x-request-id"] == "r-1"
    assert seen["content-type"] == "application/json"
    assert "cookie" not in seen


async def test_the_caller_sees_the_allowed_headers_only(site: SiteDirectory) -> None:
    async with listening(EngineThatEchoes()) as engine:
        registration(site, engine)
        reply = await ask()

    assert isinstance(reply, EngineAnswer)
    assert reply.headers == {
        "content-type": "application/json; charset=utf-8",
        "x-request-id": "r-1",
    }


@pytest.mark.parametrize("status", [400, 404, 500, 503])
async def test_an_engine_s_error_is_an_answer_byte_for_byte(
    site: SiteDirectory, status: int
) -> None:
    async with listening(EngineThatRefuses(status)) as engine:
        registration(site, engine)
        reply = await ask()

    assert isinstance(reply, EngineAnswer)
    assert (reply.status, reply.body) == (status, EngineThatRefuses.BODY)
    assert reply.headers["retry-after"] == "7"


async def test_an_engine_that_is_too_slow_is_left(site: SiteDirectory) -> None:
    engine = EngineThatNeverAnswers()
    async with listening(engine) as socket:
        registration(site, socket)

        assert await failure(timeout_s=0.1) is FailureCode.ENGINE_TIMEOUT
        await asyncio.wait_for(engine.abandoned.wait(), 10)


async def test_an_engine_that_hangs_up_may_have_run_it(site: SiteDirectory) -> None:
    async with listening(EngineThatHangsUp()) as engine:
        registration(site, engine)

        assert await failure() is FailureCode.ENGINE_BROKE_OFF


async def test_nobody_at_the_socket_is_unreachable(site: SiteDirectory, tmp_path: Path) -> None:
    registration(site, tmp_path / "nobody.sock")

    assert await failure() is FailureCode.ENGINE_UNREACHABLE


async def test_with_nobody_at_the_port_it_may_be_asked_elsewhere(
    site: SiteDirectory, unused_tcp_port: int
) -> None:
    registration(site, f"http://127.0.0.1:{unused_tcp_port}")

    assert await failure() is FailureCode.MODEL_NOT_RUNNING


async def test_a_port_of_another_host_is_not_looked_for_on_this_one(site: SiteDirectory) -> None:
    async with listening_on_port(EngineThatEchoes()) as port:
        registration(site, f"http://127.0.0.1:{port}", host="elsewhere")
        reply = await ask()

    assert isinstance(reply, SiteFailure)
    assert reply.code is FailureCode.MODEL_NOT_RUNNING
    assert "only elsewhere can reach" in reply.message


@pytest.mark.parametrize("far", ["http://127.0.0.1:{port}", "{folder}/engine.sock"])
async def test_instances_beyond_reach_get_no_share_of_the_requests(
    site: SiteDirectory, far: str
) -> None:
    async with listening_on_port(EngineThatRefuses(400)) as port:
        near = f"http://127.0.0.1:{port}"
        registration(site, near, name="near")
        far_away = far.format(port=port, folder=site.root)
        registration(site, far_away, name="far", host="elsewhere")
        replies = [await ask() for _ in range(32)]

    assert {reply.status for reply in replies if isinstance(reply, EngineAnswer)} == {400}
    assert not [reply for reply in replies if isinstance(reply, SiteFailure)]


async def test_an_engine_whose_port_nobody_holds_gets_no_share_of_the_requests(
    site: SiteDirectory, unused_tcp_port: int
) -> None:
    async with listening_on_port(EngineThatRefuses(400)) as port:
        registration(site, f"http://127.0.0.1:{port}", name="alive")
        registration(site, f"http://127.0.0.1:{unused_tcp_port}", name="dead")
        replies = [await ask() for _ in range(32)]

    assert not [reply for reply in replies if isinstance(reply, SiteFailure)]


async def test_every_obstacle_is_named_when_no_instance_is_within_reach(
    site: SiteDirectory, unused_tcp_port: int
) -> None:
    port = f"http://127.0.0.1:{unused_tcp_port}"
    registration(site, port, name="dead")
    registration(site, port, name="far-port", host="node-1")
    registration(site, site.root / "engine.sock", name="far-socket", host="node-2")
    reply = await ask()

    assert isinstance(reply, SiteFailure)
    assert reply.code is FailureCode.MODEL_NOT_RUNNING
    assert "only node-1 can reach it; one listens where only node-2 can" in reply.message
    assert "nobody of ours listens on the port" in reply.message
    assert str(unused_tcp_port) not in reply.message


async def test_a_path_is_asked_of_an_instance_that_serves_it(site: SiteDirectory) -> None:
    async with listening(EngineThatEchoes()) as engine:
        registration(site, engine, name="one")
        registration(site, engine, name="two", paths={"/v1/tokenize": "/tokenize"})
        replies = [await ask(path="/v1/tokenize") for _ in range(32)]

    assert not [reply for reply in replies if isinstance(reply, SiteFailure)]


async def test_an_engine_on_a_port_of_ours_is_asked(site: SiteDirectory) -> None:
    async with listening_on_port(EngineThatEchoes()) as port:
        registration(site, f"http://127.0.0.1:{port}")
        reply = await ask()

    assert isinstance(reply, EngineAnswer)
    assert json.loads(reply.body)["headers"]["Authorization"] == f"Bearer {KEY}"


async def test_an_engine_s_own_path_stands_in_for_the_public_one(site: SiteDirectory) -> None:
    async with listening(EngineThatEchoes()) as engine:
        registration(site, engine, paths={"/v1/tokenize": "/tokenize"})
        reply = await ask(path="/v1/tokenize")
        own = await failure(path="/tokenize")

    assert isinstance(reply, EngineAnswer)
    assert json.loads(reply.body)["path"] == "/tokenize"
    assert own is FailureCode.PATH_NOT_ALLOWED


async def test_a_form_of_25_megabytes_reaches_the_engine_byte_for_byte(site: SiteDirectory) -> None:
    """The site's own limit; what Globus Compute carries at once is less, and the gateway's care."""
    body = b"--b\r\n" + random.Random(0).randbytes(25_000_000) + b"\r\n--b--\r\n"  # noqa: S311 # noise
    kind = 'multipart/form-data; boundary="b"'
    async with listening(EngineThatSums()) as engine:
        registration(site, engine)
        reply = await ask(body=body, headers={"Content-Type": kind})

    assert isinstance(reply, EngineAnswer)
    assert json.loads(reply.body) == {"type": kind, "sha256": hashlib.sha256(body).hexdigest()}


@pytest.mark.parametrize("value", ["a\r\nx-evil: 1", "a\x00", "a\n"])
async def test_a_header_with_a_line_break_is_refused(site: SiteDirectory, value: str) -> None:
    async with listening(EngineThatEchoes()) as engine:
        registration(site, engine)

        assert await failure(headers={"content-type": value}) is FailureCode.INVALID_REQUEST


async def test_an_answer_that_compresses_passes_the_limit_of_globus(site: SiteDirectory) -> None:
    said = EngineThatSaysTooMuch(3 * contract.GLOBUS_PAYLOAD_LIMIT, compressible=True)
    async with listening(said) as engine:
        registration(site, engine)
        reply = await ask()

    assert isinstance(reply, EngineAnswer)
    assert reply.body == said.body


@pytest.mark.parametrize(
    ("size", "compressible"),
    [(contract.GLOBUS_PAYLOAD_LIMIT, False), (contract.MAX_UNPACKED + 1, True)],
)
async def test_an_answer_that_does_not_fit_is_refused_with_the_way_out(
    site: SiteDirectory, size: int, *, compressible: bool
) -> None:
    async with listening(EngineThatSaysTooMuch(size, compressible=compressible)) as engine:
        registration(site, engine)
        reply = await ask()

    assert isinstance(reply, SiteFailure)
    assert reply.code is FailureCode.RESPONSE_TOO_LARGE
    assert "fewer tokens" in reply.message


@pytest.mark.parametrize(
    "path", ["/metrics", "/v1/chat/completions?x=1", "/v1/../metrics", "v1/completions", ""]
)
async def test_only_the_engine_s_listed_paths_are_open(site: SiteDirectory, path: str) -> None:
    async with listening(EngineThatEchoes()) as engine:
        registration(site, engine)

        assert await failure(path=path) is FailureCode.PATH_NOT_ALLOWED


@pytest.mark.parametrize("change", [{"model": "vendor/other"}, {"framework": "infinity"}])
async def test_another_model_is_not_running(site: SiteDirectory, change: dict[str, str]) -> None:
    registration(site, "/nobody")

    assert await failure(**change) is FailureCode.MODEL_NOT_RUNNING


@pytest.mark.parametrize(
    "state", [state for state in InstanceState if state is not InstanceState.READY]
)
async def test_an_instance_that_is_not_ready_gets_no_request(
    site: SiteDirectory, state: InstanceState
) -> None:
    registration(site, "/nobody", state=state)
    reply = await ask()

    assert isinstance(reply, SiteFailure)
    assert reply.code is FailureCode.MODEL_NOT_RUNNING
    assert state.value in reply.message


async def test_an_instance_whose_launcher_died_gets_no_request(site: SiteDirectory) -> None:
    registration(site, "/nobody", pid_start=1)

    assert await failure() is FailureCode.MODEL_NOT_RUNNING


async def test_an_instance_that_stopped_just_now_is_not_running(site: SiteDirectory) -> None:
    registration(site, "/nobody", api_key_file=str(site.root / "gone"))

    assert await failure() is FailureCode.MODEL_NOT_RUNNING


async def test_a_key_that_cannot_be_read_is_the_operators_matter(site: SiteDirectory) -> None:
    registration(site, "/nobody", api_key_file=str(site.root))

    assert await failure() is FailureCode.SITE_MISCONFIGURED


async def test_several_instances_share_the_requests(site: SiteDirectory) -> None:
    async with listening(EngineThatRefuses(400)) as one, listening(EngineThatRefuses(500)) as two:
        registration(site, one, name="one")
        registration(site, two, name="two")
        replies = [await ask() for _ in range(64)]

    assert {reply.status for reply in replies if isinstance(reply, EngineAnswer)} == {400, 500}


async def test_without_a_site_directory_the_operators_are_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    reply = await ask()

    assert isinstance(reply, SiteFailure)
    assert reply.code is FailureCode.SITE_MISCONFIGURED
    assert "HOTNODE_SITE_DIR" in reply.message


async def test_another_version_of_the_contract_is_refused_by_name(site: SiteDirectory) -> None:
    reply = read_reply(await run_request.answer(REQUEST.to_wire() | {"v": 2}))

    assert isinstance(reply, SiteFailure)
    assert reply.code is FailureCode.UNSUPPORTED_PROTOCOL


@pytest.mark.parametrize("wire", [None, [], "x", {"v": 1}, REQUEST.to_wire() | {"body": 1}])
async def test_what_is_no_request_is_refused(site: SiteDirectory, wire: object) -> None:
    reply = read_reply(await run_request.answer(wire))

    assert isinstance(reply, SiteFailure)
    assert reply.code in {FailureCode.INVALID_REQUEST, FailureCode.UNSUPPORTED_PROTOCOL}


@pytest.mark.parametrize("timeout_s", [0.0, -1.0, math.inf, math.nan, 3601.0])
async def test_a_wait_without_bounds_is_refused(site: SiteDirectory, timeout_s: float) -> None:
    assert await failure(timeout_s=timeout_s) is FailureCode.INVALID_REQUEST


async def test_only_post_is_carried(site: SiteDirectory) -> None:
    assert await failure(method="GET") is FailureCode.INVALID_REQUEST


async def test_the_function_runs_in_a_thread_without_a_loop(site: SiteDirectory) -> None:
    async with listening(EngineThatEchoes()) as engine:
        registration(site, engine)
        wire = await asyncio.to_thread(run_request.run_request, REQUEST.to_wire())

    assert wire["kind"] == "answer"


async def test_a_request_that_comes_long_after_its_deadline_reaches_no_engine(
    site: SiteDirectory,
) -> None:
    async with listening(EngineThatEchoes()) as engine:
        registration(site, engine)
        now = time.time()
        assert await failure(expires_at=now - run_request.CLOCK_SKEW_S - 1) is FailureCode.EXPIRED
        late_by_a_wrong_clock = await ask(expires_at=now - run_request.CLOCK_SKEW_S / 2)
        assert isinstance(late_by_a_wrong_clock, EngineAnswer)
