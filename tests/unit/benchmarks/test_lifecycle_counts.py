"""What the lifecycle benchmark counts with: how an answer ended, what lasted, what was missed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from lifecycle_parts.asked import Asked, End, Outcome
from lifecycle_parts.asking import Asker, Question
from lifecycle_parts.load import Mix
from lifecycle_parts.measures.kills import Killed
from measured import Line

WORD = b'data: {"choices": [{"delta": {"content": "1 "}}], "system_fingerprint": "n1"}\n\n'
DONE = b"data: [DONE]\n\n"
ERROR = b'data: {"error": {"code": "backend_interrupted"}}\n\n'
STATE = b": cluster=a state=queued\n\n"


def saying(*parts: bytes) -> Callable[[web.Request], Any]:
    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for part in parts:
            await response.write(part)
        return response

    return handle


def refusing(status: int, code: str) -> Callable[[web.Request], Any]:
    async def handle(_: web.Request) -> web.Response:
        return web.json_response({"error": {"code": code}}, status=status)

    return handle


async def asked(handler: Callable[[web.Request], Any], *, words: int = 2) -> tuple[Asked, Asker]:
    application = web.Application()
    application.router.add_post("/v1/chat/completions", handler)
    async with TestServer(application) as server, aiohttp.ClientSession() as session:
        asker = Asker(session, str(server.make_url("/v1")))
        return await asker.ask(Question(model="m", words=words, stream=True)), asker


@pytest.mark.parametrize(
    ("parts", "end"),
    [
        ((WORD, WORD, DONE), End.WHOLE),
        ((WORD, WORD), End.CUT),
        ((WORD, DONE), End.CUT),
        ((WORD, WORD, WORD, DONE), End.CUT),
        ((WORD, ERROR), End.HONEST),
        ((), End.CUT),
    ],
)
async def test_a_stream_ends_as_it_says(parts: tuple[bytes, ...], end: End) -> None:
    found, _ = await asked(saying(*parts))

    assert found.end is end
    assert found.words == parts.count(WORD)


async def test_comments_are_heard_and_are_no_words() -> None:
    found, asker = await asked(saying(STATE, WORD, WORD, DONE))

    assert found.end is End.WHOLE
    assert found.node == "n1"
    assert [text for _, text in asker.comments] == ["cluster=a state=queued"]


@pytest.mark.parametrize(
    ("code", "end"), [("backend_interrupted", End.HONEST), ("backend_unavailable", End.REFUSED)]
)
async def test_an_answer_that_broke_off_is_no_refusal(code: str, end: End) -> None:
    found, _ = await asked(refusing(503, code))

    assert (found.end, found.detail) == (end, f"503 {code}")


async def test_nobody_there_is_unreachable(unused_tcp_port: int) -> None:
    async with aiohttp.ClientSession() as session:
        asker = Asker(session, f"http://127.0.0.1:{unused_tcp_port}/v1")
        found = await asker.ask(Question(model="m"))

    assert found.end is End.UNREACHABLE


def one(end: End, *, streams: bool = True, at: tuple[float, float] = (0.0, 1.0)) -> Asked:
    return Asked(streams=streams, began_at=at[0], ended_at=at[1], end=end)


def test_failures_are_all_that_is_not_whole() -> None:
    outcome = Outcome([one(End.WHOLE), one(End.CUT), one(End.HONEST), one(End.HUNG)])

    assert outcome.failed == 3
    assert outcome.told() == "1 whole, 1 cut, 1 honest, 1 hung"


def test_only_whole_streams_outlast() -> None:
    outcome = Outcome(
        [
            one(End.WHOLE, at=(0.0, 10.0)),
            one(End.HONEST, at=(0.0, 10.0)),
            one(End.WHOLE, at=(3.0, 10.0)),
            one(End.WHOLE, at=(0.0, 6.0)),
            one(End.WHOLE, streams=False, at=(0.0, 10.0)),
        ]
    )

    assert outcome.spanning(2.0, 7.0) == 1
    assert len(outcome.within(6.5, 7.0).asked) == 4


def test_silence_is_between_answers_in_one_piece_that_were_whole() -> None:
    outcome = Outcome(
        [
            one(End.WHOLE, streams=False, at=(0.0, 1.0)),
            one(End.CUT, streams=False, at=(1.0, 3.0)),
            one(End.WHOLE, at=(1.0, 4.0)),
            one(End.WHOLE, streams=False, at=(3.0, 7.0)),
            one(End.WHOLE, streams=False, at=(7.0, 8.0)),
        ]
    )

    assert outcome.silence_s == 6.0
    assert Outcome([]).silence_s == 0.0


@pytest.mark.parametrize(
    ("victim", "wronged", "needless"),
    [("controller", 3, 1), ("hub", 2, 1), ("web process", 2, 1), ("engine", 2, 0)],
)
def test_a_death_may_cost_what_its_victim_holds(victim: str, wronged: int, needless: int) -> None:
    outcome = Outcome([one(End.WHOLE), one(End.HONEST), one(End.CUT), one(End.HUNG)])
    found = Killed(victim=victim, outcome=outcome, jobs=1, submitted=1, recovered_s=1.0)

    assert (found.wronged, found.needless, found.hung) == (wronged, needless, 1)


def test_long_streams_begin_apart() -> None:
    begins = [begin_s for question, begin_s in Mix(model="m", longs=4, long_s=8.0).callers()]

    assert begins == [0.0] * 4 + [0.0, 2.0, 4.0, 6.0]


@pytest.mark.parametrize(
    ("value", "most", "least", "missed"),
    [(1, 1, None, False), (1.01, 1, None, True), (0, None, 1, True), (5, None, None, False)],
)
def test_a_target_that_is_missed_is_marked(
    value: float, most: float | None, least: float | None, missed: bool
) -> None:
    line = Line(label="x", value=value, most=most, least=least)

    assert line.missed is missed
    assert ("MISSED" in line.text()) is missed
