"""The log says who did what, when and with which result; never what they said, nor their tokens."""

from __future__ import annotations

import json
import logging
from io import BytesIO
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.support.identity_service import DAY_S, chat, service_of

SECRET = "the-quick-brown-marker"
CHAT = "local/vllm/v1/chat/completions"


@pytest.fixture
def recorded(caplog, capfd):
    """Return our events so far, and a function that tells all that any logger or stream said."""
    caplog.set_level(logging.DEBUG)
    with capture_logs() as events:

        def said() -> str:
            streams = capfd.readouterr()
            return "\n".join([caplog.text, streams.out, streams.err, repr(events)])

        yield events, said


async def test_no_prompt_and_no_token_is_ever_logged(recorded, globus):
    events, said = recorded
    tokens = [await globus.token(name) for name in ("alice@example.org", "eve@evil.example")]
    alice, eve = tokens
    body = chat("open", SECRET)
    sent: list[tuple[str, str, dict[str, Any]]] = [
        (CHAT, alice, {"json": body}),
        (CHAT, alice, {"json": chat("private", SECRET)}),
        (CHAT, alice, {"json": chat(SECRET, SECRET)}),
        (CHAT, alice, {"json": body | {"stream": True}}),
        (CHAT, alice, {"json": body | {"priority": SECRET}}),
        (CHAT, alice, {"data": json.dumps(body)[:-1]}),
        (CHAT, alice, {"data": SECRET.encode() + b"\xff"}),
        (CHAT, alice, {"data": BytesIO(SECRET.encode() * 500_000)}),
        (CHAT, "A" + SECRET, {"json": body}),
        (CHAT, alice + SECRET, {"json": body}),
        (CHAT, eve, {"json": chat("domestic", SECRET)}),
        ("local/vllm/v1/embeddings", alice, {"json": {"model": "open", "input": SECRET}}),
        ("absent/vllm/v1/chat/completions", alice, {"json": body}),
        ("v1/nothing", alice, {"json": body}),
    ]
    async with service_of(globus, ttl_s=0.001, max_body_bytes=1_000_000) as service:
        statuses = [
            (await service.send("POST", path, token, **data)).status for path, token, data in sent
        ]
        await globus.set_weather("auth", status=503)
        statuses.append((await service.send("POST", CHAT, eve, json=body)).status)
        await globus.set_weather("auth")
        await globus.revoke_all("alice@example.org")
        statuses.append((await service.send("POST", CHAT, alice, json=body)).status)
    lines = [event for event in events if event["event"] == "http_request"]
    assert [line["status"] for line in lines] == statuses
    assert {200, 400, 401, 404, 413} <= set(statuses)
    assert 500 not in statuses
    assert all("error_code" in line for line in lines if line["status"] >= 400)
    everything = said()
    assert SECRET not in everything
    for token in tokens:
        assert token not in everything


async def test_a_line_says_who_did_what_and_how_it_went(service):
    token = await service.globus.token("carol@example.org")
    with capture_logs() as events:
        async with service_of(service.globus) as fresh:
            await fresh.ask("open", token)
            await fresh.ask("absent", token)
            await fresh.get("whoami", "nonsense")
            await service.globus.age_sessions("carol@example.org", 8 * DAY_S)
        async with service_of(service.globus) as fresh:
            await fresh.get("whoami", token)
    served, absent, stranger, too_old = (e for e in events if e["event"] == "http_request")
    who = {
        "user_id": "ca201000-0000-4000-8000-000000000001",
        "username": "carol@partner.example",
        "logins": [{"username": "carol@example.org", "idp": "Example University"}],
    }
    for line in (served, absent, too_old):
        assert {name: line[name] for name in who} == who
    assert (served["model"], served["cluster"], served["framework"]) == ("open", "local", "vllm")
    assert (served["method"], served["path"]) == ("POST", f"/resource_server/{CHAT}")
    assert (served["status"], "error_code" in served) == (200, False)
    assert (absent["status"], absent["error_code"]) == (404, "model_not_found")
    assert (stranger["status"], stranger["error_code"]) == (401, "invalid_api_key")
    assert "user_id" not in stranger
    assert (too_old["status"], too_old["error_code"]) == (403, "reauthentication_required")
    assert all(line["duration_ms"] > 0 for line in (served, absent, stranger, too_old))
