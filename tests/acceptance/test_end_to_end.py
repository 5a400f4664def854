"""The main job: the unmodified openai SDK, the gateway, Globus Compute, the agent, vLLM."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import uuid
from io import BytesIO
from pathlib import Path

import aiohttp
import pytest

from lab import tones
from lab.login import HELPER
from lab.question import ask, read_server_timing
from tests.support.engine import MODEL
from tests.support.running_service import (
    ABSENT_MODEL,
    ALICE,
    BOB,
    EVE,
    PRIVATE_MODEL,
    TINY,
    TINY_NAMES,
    model_file,
)

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(600)]


@pytest.mark.row("C-29")
@pytest.mark.row("C-21")
async def test_the_openai_sdk_gets_an_answer_from_vllm_through_globus_compute(running):
    answer = await asyncio.to_thread(ask, running.service.tasks_url, running.tokens[ALICE], MODEL)
    assert answer.text == "The capital of Norway is Oslo."
    assert answer.right
    assert str(uuid.UUID(answer.task_id)) == answer.task_id
    assert answer.request_id.startswith("req_")
    assert set(answer.hops) == {"gateway", "queue", "task", "site", "engine"}
    assert answer.hops["engine"] > 0
    assert answer.hops["task"] > 0


@pytest.mark.row("C-24")
async def test_completions_continue_a_text(running):
    async with running.openai() as client:
        completion = await client.completions.create(
            model=MODEL, prompt="The capital of", temperature=0, max_tokens=4
        )
    assert completion.object == "text_completion"
    assert completion.usage.completion_tokens == 4


@pytest.mark.row("C-31")
async def test_temperature_and_max_tokens_reach_the_engine(running):
    async with running.openai() as client:
        answers = [
            await client.chat.completions.create(
                model=MODEL,
                messages=[{"role": "user", "content": "Tell me a story."}],
                max_tokens=limit,
                temperature=0,
            )
            for limit in (3, 9)
        ]
    assert [answer.usage.completion_tokens for answer in answers] == [3, 9]
    assert {answer.choices[0].finish_reason for answer in answers} == {"length"}


async def test_fields_that_openai_does_not_know_reach_the_engine(running):
    async with running.openai() as client:
        answer = await client.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": "What is the capital of Norway?"}],
            temperature=0,
            extra_body={"top_k": 1, "chat_template_kwargs": {"enable_thinking": True}},
        )
    message = answer.choices[0].message
    assert "Oslo" in message.content
    assert "Oslo" in str(message.model_extra)


@pytest.mark.row("C-30")
async def test_curl_gets_the_engine_s_answer_unchanged(running, ready_engine):
    body = json.dumps({"model": MODEL, "prompt": "Hello", "max_tokens": 1, "temperature": 0})
    process = await asyncio.create_subprocess_exec(
        *("curl", "--silent", "--max-time", "60", f"{running.service.tasks_url}/completions"),
        *("-H", f"Authorization: Bearer {running.tokens[ALICE]}"),
        *("-H", "Content-Type: application/json", "-d", body),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    answered = json.loads(output)
    registered = ready_engine.registration()
    key = await asyncio.to_thread(Path(str(registered["api_key_file"])).read_text)
    async with (
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(registered["endpoint"]))) as own,
        own.post(
            "http://engine/v1/completions",
            data=body,
            headers={
                "Authorization": f"Bearer {key.strip()}",
                "Content-Type": "application/json",
            },
        ) as response,
    ):
        straight = await response.json()
    assert set(answered) == set(straight)
    assert answered["choices"] == straight["choices"]
    assert answered["usage"] == straight["usage"]


async def test_an_engine_s_refusal_keeps_status_and_words(running):
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 99999}
    async with running.session() as session, session.post(running.chat, json=body) as response:
        error = (await response.json())["error"]
    assert response.status == 400
    assert "99999" in error["message"]
    assert response.headers["x-hotnode-globus-task-id"]


@pytest.mark.row("C-67")
async def test_a_model_that_runs_nowhere_points_to_the_jobs(running):
    body = {"model": ABSENT_MODEL, "messages": []}
    async with running.session() as session, session.post(running.chat, json=body) as response:
        error = (await response.json())["error"]
    assert (response.status, error["code"]) == (503, "model_not_running")
    assert "/resource_server/local-tasks/jobs" in error["message"]
    assert response.headers["Retry-After"]


@pytest.mark.row("C-27")
async def test_jobs_show_the_running_model(running):
    url = f"{running.service.gateway.url}/resource_server/local/jobs"
    async with running.session() as session, session.get(url) as response:
        found = await response.json()
    assert (MODEL, "Live") in {(job["Models"], job["Model State"]) for job in found["running"]}


@pytest.mark.row("C-28")
async def test_list_endpoints_differ_by_person(running):
    url = f"{running.service.gateway.url}/resource_server/list-endpoints"
    seen = {}
    for person in (ALICE, BOB):
        async with running.session(person) as session, session.get(url) as response:
            clusters = (await response.json())["clusters"]
            seen[person] = set(clusters["local"]["frameworks"]["vllm"]["models"])
    public = {model.id for model in TINY} | {ABSENT_MODEL}
    assert seen == {ALICE: public, BOB: public | {PRIVATE_MODEL}}


@pytest.mark.row("C-57")
async def test_a_body_over_ten_megabytes_is_refused_with_the_way_out(running):
    content = os.urandom(6_000_000).hex()
    body = json.dumps({"model": MODEL, "prompt": content}).encode()
    url = f"{running.service.tasks_url}/completions"
    async with running.session() as session, session.post(url, data=BytesIO(body)) as got:
        error = (await got.json())["error"]
    assert (got.status, error["code"]) == (413, "payload_too_large")
    assert "several requests" in error["message"]


@pytest.mark.row("C-57")
async def test_a_body_near_the_limit_travels_compressed(running):
    """Nine megabytes of text fit into one submission; the engine refuses so many tokens."""
    body = json.dumps({"model": MODEL, "prompt": "word " * 1_800_000}).encode()
    url = f"{running.service.tasks_url}/completions"
    async with running.session() as session, session.post(url, data=BytesIO(body)) as got:
        error = (await got.json())["error"]
    assert got.status == 400
    assert got.headers["x-hotnode-globus-task-id"]
    assert "2048" in error["message"]


@pytest.mark.row("C-68")
async def test_a_bad_token_is_refused_with_the_command_that_helps(running):
    url, headers = f"{running.service.tasks_url}/models", {"Authorization": "Bearer nonsense"}
    async with running.session() as session, session.get(url, headers=headers) as response:
        error = (await response.json())["error"]
    assert (response.status, error["code"]) == (401, "invalid_api_key")
    assert "authenticate --force" in error["message"]


async def test_a_flood_stays_within_the_budget_and_everyone_is_answered(running):
    """The stand-in enforces the service's 20 requests in 10 seconds: one refusal fails this."""
    async with running.openai() as client:
        answers = await asyncio.gather(
            *(
                client.chat.completions.with_raw_response.create(
                    model=MODEL,
                    messages=[{"role": "user", "content": "What is 3 + 4?"}],
                    temperature=0,
                )
                for _ in range(60)
            )
        )
    texts = {answer.parse().choices[0].message.content for answer in answers}
    assert texts == {"3 + 4 = 7."}
    tasks = {answer.headers["x-hotnode-globus-task-id"] for answer in answers}
    assert len(tasks) == len(answers)
    timings = [read_server_timing(answer.headers["server-timing"]) for answer in answers]
    assert all(timing["task"] > 0 for timing in timings)


@pytest.mark.row("C-11")
@pytest.mark.row("C-13")
@pytest.mark.row("C-14")
async def test_the_helper_s_token_opens_the_gateway(running):
    environment = running.service.login_environment(ALICE)
    helper = [sys.executable, str(HELPER)]
    token = subprocess.check_output([*helper, "get_access_token"], env=environment, text=True)  # noqa: S603, ASYNC221
    left = subprocess.check_output(  # noqa: S603, ASYNC221
        [*helper, "get_time_until_token_expiration", "--units", "hours"],
        env=environment,
        text=True,
    )
    assert re.fullmatch(r"\d+(\.\d+)?\n", left)
    assert 47 < float(left) <= 48
    url = f"{running.service.gateway.url}/resource_server/whoami"
    headers = {"Authorization": f"Bearer {token.strip()}"}
    async with running.session(EVE) as session, session.get(url, headers=headers) as response:
        assert (await response.json())["username"] == ALICE


async def test_a_changed_catalog_serves_without_a_restart(running):
    path = running.service.gateway.catalog / "models" / "new.yaml"
    path.write_text(model_file("hotnode/new"))
    everything = TINY_NAMES | {ABSENT_MODEL}
    try:
        await running.until_listed(ALICE, everything | {"hotnode/new"})
    finally:
        path.unlink()
    await running.until_listed(ALICE, everything)


@pytest.mark.row("A-38", "U-23", "C-25")
async def test_infinity_s_embeddings_come_through_globus_compute(running, embedding_engine):
    async with running.openai() as client:
        answer = await client.embeddings.with_raw_response.create(
            model=embedding_engine.model, input=["one text", "another"]
        )
    assert uuid.UUID(answer.headers["x-hotnode-globus-task-id"])
    assert answer.headers["x-hotnode-cluster"] == "local-tasks"
    assert [len(entry.embedding) for entry in answer.parse().data] == [384, 384]


@pytest.mark.row("U-18", "U-21")
async def test_a_sound_is_written_down_through_globus_compute(running, whisper_engine):
    async with running.openai() as client:
        answer = await client.audio.transcriptions.create(
            model=whisper_engine.model, file=("keys.wav", tones.wav("458073")), language="en"
        )
    assert answer.text.strip() == "four five eight zero seven three"


@pytest.mark.row("U-6", "U-7")
async def test_a_short_name_thinks_as_its_file_says(running):
    async with running.openai() as client:
        answers = [
            await client.chat.completions.create(
                model=name,
                messages=[{"role": "user", "content": "What is the capital of Norway?"}],
                temperature=0,
            )
            for name in ("tiny-chat", "tiny-chat-thinking")
        ]
    thoughts = [answer.choices[0].message.model_extra.get("reasoning") for answer in answers]
    assert not thoughts[0]
    assert thoughts[1]
