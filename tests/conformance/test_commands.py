"""curl, plain HTTP clients and the command `llm`, on each base URL."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from lab.clients import environment
from tests.support.client_runs import (
    Runs,
    clients_dir,
    comes_in_pieces,
    installed,
    run,
    transport,
)

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(900)]

OSLO = "The capital of Norway is Oslo."
QUESTION = "What is the capital of Norway?"


async def curl(runs: Runs, url: str, *arguments: str, key: str | None = None) -> str:
    """Run curl as the documentation shows it."""
    if shutil.which("curl") is None:
        pytest.skip("curl not found. On Debian: apt-get install curl")
    token = f"Authorization: Bearer {key or runs.offer['key']}"
    return await run(["curl", "-sS", "-H", token, *arguments, url], home=runs.home)


@pytest.mark.row("U-5")
@pytest.mark.row("U-9")
@pytest.mark.row("A-39")
@pytest.mark.row("C-30")
async def test_curl_asks_a_question(runs, base):
    body = {
        "model": runs.offer["models"]["chat"],
        "messages": [{"role": "user", "content": QUESTION}],
        "stream": False,
    }
    url = f"{runs.offer['bases'][base]}/chat/completions"
    sent = ("-H", "Content-Type: application/json", "-d", json.dumps(body))
    answer = json.loads(await curl(runs, url, *sent))
    assert answer["choices"][0]["message"]["content"] == OSLO
    assert "_links" not in answer


@pytest.mark.row("U-12", "A-35", "C-63")
async def test_curl_streams(runs, base, tmp_path):
    body = {
        "model": runs.offer["models"]["chat"],
        "messages": [{"role": "user", "content": QUESTION}],
        "stream": True,
    }
    url, head = f"{runs.offer['bases'][base]}/chat/completions", tmp_path / "head"
    sent = ("-H", "Content-Type: application/json", "-d", json.dumps(body))
    *events, done, rest = (await curl(runs, url, "-N", "-D", str(head), *sent)).split("\n\n")
    chunks = [json.loads(event.removeprefix("data: ")) for event in events]
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == OSLO
    assert (done, rest) == ("data: [DONE]", "")
    headers = head.read_text().lower()
    assert "content-type: text/event-stream" in headers
    assert f"x-hotnode-transport: {transport(base)}\n" in headers.replace("\r", "")
    assert ("x-hotnode-stream: whole" in headers) != comes_in_pieces(base)


@pytest.mark.row("U-18")
async def test_curl_uploads_speech(runs, base):
    form = (
        *("-F", f"model={runs.offer['models']['speech']}"),
        *("-F", f"file=@{runs.offer['sound']}"),
        *("-F", "response_format=json"),
    )
    url = f"{runs.offer['bases'][base]}/audio/transcriptions"
    assert json.loads(await curl(runs, url, *form))["text"].strip() == "four five eight zero"


async def test_curl_may_write_the_slash_of_a_name_either_way(runs, base):
    model = runs.offer["models"]["chat"]
    for name in (model, model.replace("/", "%2F")):
        found = json.loads(await curl(runs, f"{runs.offer['bases'][base]}/models/{name}"))
        assert found["id"] == model


@pytest.mark.row("U-11")
async def test_requests_reads_json(runs, base):
    assert await runs.said("http", base, "read_as_json") == OSLO
    assert await runs.said("http", base, "standard_library") == OSLO


@pytest.mark.row("C-62")
async def test_a_client_that_asks_for_text_and_reads_text_works(runs, base):
    assert await runs.said("http", base, "read_as_text") == OSLO


@pytest.mark.row("A-35", "C-63")
async def test_requests_reads_a_stream_line_by_line(runs, base):
    assert await runs.said("http", base, "read_lines") == {
        "type": "text/event-stream",
        "text": OSLO,
        "last": "data: [DONE]",
    }


async def test_routes_that_no_sdk_knows_answer(runs, base):
    said = await runs.said("http", base, "engine_routes")
    assert {route: answer["status"] for route, answer in said.items()} == {
        "tokenize": 200,
        "detokenize": 200,
        "rerank": 200,
        "classify": 200,
    }
    assert "tokens" in said["tokenize"]["fields"]
    assert "prompt" in said["detokenize"]["fields"]
    assert "results" in said["rerank"]["fields"]
    assert "data" in said["classify"]["fields"]


async def test_who_sends_no_token_is_told_so_with_a_status_of_401(runs, base):
    assert await runs.said("http", base, "refusal") == {
        "status": 401,
        "type": "application/json",
        "challenge": "Bearer",
        "error": ["code", "message", "param", "type"],
    }


@pytest.mark.row("U-33")
async def test_a_tool_that_knows_only_the_variables_works(runs, base, tmp_path):
    python = environment.python_clients(clients_dir())["clients"]
    script = tmp_path / "tool.py"
    script.write_text(
        "import openai\n"
        f"print(openai.OpenAI().models.retrieve({runs.offer['models']['chat']!r}).id)\n"
    )
    said = await run(
        [str(installed(python).program), str(script)],
        home=tmp_path,
        environ={
            "OPENAI_BASE_URL": runs.offer["bases"][base],
            "OPENAI_API_KEY": runs.offer["key"],
        },
    )
    assert said.strip() == runs.offer["models"]["chat"]


def llm_home(runs: Runs, base: str, folder: Path) -> dict[str, str]:
    """Write the configuration of the command `llm`; return the variables that lead to it."""
    models = [
        {
            "model_id": "ours",
            "model_name": runs.offer["models"]["chat"],
            "api_base": runs.offer["bases"][base],
            "api_key_name": "hotnode",
            "supports_tools": True,
        }
    ]
    (folder / "extra-openai-models.yaml").write_text(yaml.safe_dump(models))
    return {"LLM_USER_PATH": str(folder)}


def llm() -> str:
    python = environment.python_clients(clients_dir())["clients"]
    return str(installed(python).program.with_name("llm"))


@pytest.mark.row("U-33")
async def test_llm_answers(runs, base, tmp_path):
    said = await run(
        [llm(), "-m", "ours", "--no-stream", "--key", runs.offer["key"], QUESTION],
        home=tmp_path,
        environ=llm_home(runs, base, tmp_path),
    )
    assert said.strip() == OSLO


@pytest.mark.row("U-33", "C-63")
async def test_llm_streams(runs, base, tmp_path):
    said = await run(
        [llm(), "-m", "ours", "--key", runs.offer["key"], QUESTION],
        home=tmp_path,
        environ=llm_home(runs, base, tmp_path),
    )
    assert said.strip() == OSLO


@pytest.mark.row("U-33", "C-35")
async def test_llm_calls_tools_in_streams(runs, base, tmp_path):
    called = tmp_path / "called"
    tool = (
        "def get_weather(city: str) -> str:\n"
        '    "Return the weather of a city."\n'
        f"    open({str(called)!r}, 'a').write(city)\n"
        "    return f'It rains in {city}.'\n"
    )
    await run(
        [
            *(llm(), "-m", "ours", "--key", runs.offer["key"], "--functions", tool),
            *("-o", "temperature", "0", "What is the weather in Oslo?"),
        ],
        home=tmp_path,
        environ=llm_home(runs, base, tmp_path),
    )
    assert called.read_text() == "Oslo"


async def test_llm_without_a_key_says_what_is_missing(runs, base, tmp_path):
    with pytest.raises(AssertionError) as failed:
        await run(
            [llm(), "-m", "ours", "--no-stream", "--key", "DUMMY_KEY", QUESTION],
            home=tmp_path,
            environ=llm_home(runs, base, tmp_path),
        )
    assert "401" in str(failed.value)
