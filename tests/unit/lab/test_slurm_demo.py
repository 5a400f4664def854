"""The demo on Slurm: what it says where Slurm is missing, and what it overhears of the SDK."""

from __future__ import annotations

import asyncio
import json

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from lab import demo
from lab.slurm_demo import overhearing
from lab.slurm_demo.play import SlurmMissing
from lab.system import packages

CHUNK = {
    "id": "1",
    "object": "chat.completion.chunk",
    "created": 0,
    "model": "m",
    "system_fingerprint": "n1",
    "choices": [{"index": 0, "delta": {"content": "Hello"}, "finish_reason": None}],
}


def test_what_is_missing_is_named_with_the_line_that_installs_it() -> None:
    assert str(SlurmMissing([packages.MUNGE, packages.SLURMD])) == (
        "not installed: munge, slurmd. As root:\n"
        "  apt-get install --yes --no-install-recommends munge slurmd"
    )


def test_a_power_cut_is_for_slurm_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        demo.main(["--power-off"])

    assert ended.value.code == 2
    assert "--power-off needs --slurm" in capsys.readouterr().err


async def test_comments_are_told_though_the_sdk_passes_them_over() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        # A comment need not come in one part.
        await response.write(b": state=que")
        await response.write(b"ued\n\n: state=starting\n\n")
        await response.write(f"data: {json.dumps(CHUNK)}\n\ndata: [DONE]\n\n".encode())
        return response

    application = web.Application()
    application.router.add_post("/v1/chat/completions", answer)
    heard: list[str] = []

    def ask(url: str) -> overhearing.Told:
        with overhearing.client(url, "token", heard.append) as opened:
            return overhearing.stream(opened, "m", "Hi")

    async with TestServer(application) as server:
        told = await asyncio.to_thread(ask, str(server.make_url("/v1")))

    assert heard == ["state=queued", "state=starting"]
    assert (told.text, told.pieces, told.nodes) == ("Hello", 1, frozenset({"n1"}))
