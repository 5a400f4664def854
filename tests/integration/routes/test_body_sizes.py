"""How large a request somebody may send: by setting, or by the rules for their groups."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from resource_server.adapters.limits_file import LimitsFile
from resource_server.adapters.memory.limits import MemoryLimitStore
from resource_server.domain.catalog import Catalog
from resource_server.domain.limit_rules import Allowance
from resource_server.services.limit_rules import LiveLimitRules
from resource_server.services.limits import Limits
from tests.support.catalogs import cluster, model
from tests.support.doubles import BackendThatEchoes
from tests.support.gateway import served_gateway

CATALOG = Catalog(
    [cluster()],
    [model("open/chat", routes=("chat/completions", "messages", "audio/transcriptions"))],
)
#: By the settings, and for the group in which Bob is, and for that in which Alice is.
USUAL, MORE, LESS = 10_000, 50_000, 2_000
USUAL_UPLOAD, MORE_UPLOAD = 20_000, 60_000
#: Eve is in neither.
LIMITS = f"""\
groups:
  94090000-0000-4000-8000-000000000003:
    max_body_bytes: {MORE}
    max_upload_bytes: {MORE_UPLOAD}
  94090000-0000-4000-8000-000000000002:
    max_body_bytes: {LESS}
"""
BASE = "/resource_server/local/vllm/v1"
CHAT, MESSAGES, AUDIO = (
    f"{BASE}/{route}" for route in ("chat/completions", "messages", "audio/transcriptions")
)
JSON, FORM = "application/json", "multipart/form-data; boundary=edge"


class Sender:
    """Sends bodies to a gateway as some of its people, with and without a declared length."""

    def __init__(self, client: aiohttp.ClientSession, tokens: dict[str, str]) -> None:
        self._client = client
        self._tokens = tokens

    def post(
        self, who: str, path: str, body: bytes, *, chunked: bool = False, kind: str = JSON
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        return self._client.post(
            path,
            data=in_pieces(body) if chunked else body,
            headers={"Authorization": f"Bearer {self._tokens[who]}", "Content-Type": kind},
        )

    async def send(
        self, who: str, path: str, body: bytes, *, chunked: bool = False
    ) -> tuple[int, Any]:
        async with self.post(who, path, body, chunked=chunked) as response:
            return response.status, await response.json()


async def in_pieces(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), 4_000):
        yield body[start : start + 4_000]


def chat(size: int) -> bytes:
    """Return a request of so many bytes."""
    empty = json.dumps({"model": "open/chat", "messages": [], "user": ""}).encode()
    return empty.replace(b'"user": ""', b'"user": "%s"' % (b"x" * (size - len(empty))))


def form(size: int) -> bytes:
    """Return an audio route's request of so many bytes."""
    head = (
        b'--edge\r\nContent-Disposition: form-data; name="model"\r\n\r\nopen/chat\r\n'
        b'--edge\r\nContent-Disposition: form-data; name="file"; filename="a.mp3"\r\n\r\n'
    )
    tail = b"\r\n--edge--\r\n"
    return head + bytes(size - len(head) - len(tail)) + tail


@asynccontextmanager
async def gateway(people, folder: Path) -> AsyncIterator[Sender]:
    globus, tokens = people
    rules = LiveLimitRules(LimitsFile(folder, Allowance()))
    await rules.start()
    async with (
        Limits(MemoryLimitStore(), rules.current) as limits,
        served_gateway(
            globus,
            CATALOG,
            backend=BackendThatEchoes(),
            limits=limits,
            max_body_bytes=USUAL,
            max_upload_bytes=USUAL_UPLOAD,
        ) as url,
        aiohttp.ClientSession(url) as client,
    ):
        yield Sender(client, tokens)


@pytest.fixture
async def sender(people, tmp_path) -> AsyncIterator[Sender]:
    """Serve a gateway whose `limits.yaml` has rules for two groups."""
    (tmp_path / "limits.yaml").write_text(LIMITS)
    async with gateway(people, tmp_path) as sender:
        yield sender


@pytest.mark.parametrize("chunked", [False, True], ids=["with a length", "in chunks"])
@pytest.mark.parametrize(("who", "limit"), [("eve", USUAL), ("bob", MORE), ("alice", LESS)])
async def test_a_group_may_send_more_or_less_than_the_setting_says(sender, who, limit, chunked):
    assert (await sender.send(who, CHAT, chat(limit), chunked=chunked))[0] == 200
    status, answer = await sender.send(who, CHAT, chat(limit + 1), chunked=chunked)
    assert (status, answer["error"]["code"]) == (413, "payload_too_large")
    assert f"larger than {limit} bytes" in answer["error"]["message"]


@pytest.mark.parametrize("chunked", [False, True], ids=["with a length", "in chunks"])
@pytest.mark.parametrize(
    ("who", "limit"), [("eve", USUAL_UPLOAD), ("bob", MORE_UPLOAD), ("alice", USUAL_UPLOAD)]
)
async def test_files_have_a_limit_of_their_own(sender, who, limit, chunked):
    for size, expected in ((limit, 200), (limit + 1, 413)):
        async with sender.post(who, AUDIO, form(size), chunked=chunked, kind=FORM) as response:
            assert response.status == expected
            assert (f"larger than {limit} bytes" in await response.text()) == (expected == 413)


async def test_the_refusal_is_in_the_dialect_of_the_route(sender):
    status, answer = await sender.send("bob", MESSAGES, chat(MORE + 1))
    assert (status, answer["type"]) == (413, "error")
    assert answer["error"]["type"] == "request_too_large"
    assert f"larger than {MORE} bytes" in answer["error"]["message"]


async def test_without_rules_everybody_has_the_setting(people, tmp_path):
    async with gateway(people, tmp_path) as sender:
        assert (await sender.send("bob", CHAT, chat(USUAL)))[0] == 200
        assert (await sender.send("bob", CHAT, chat(USUAL + 1)))[0] == 413
