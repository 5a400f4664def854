"""The examples of docs/users/batches.md, run as they stand there but for the names in them."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import pytest

from tests.support.batch_gateway import BatchService, site_that_runs_batches
from tests.support.batch_orders import BatchSite, lines
from tests.support.batch_runs import batch_engine_in
from tests.support.client_runs import run
from tests.support.slurm_site import FRAMEWORK, MODEL

PAGE = Path(__file__).parents[3] / "docs" / "users" / "batches.md"
HELPER = """\
def get_access_token():
    return "{token}"

if __name__ == "__main__":
    print(get_access_token())
"""


def example(title: str, kind: str, service: BatchService) -> str:
    """Return the first example below a title, with this gateway's names in it."""
    section = re.split(rf"^## {title}$", PAGE.read_text(), flags=re.MULTILINE)[1]
    found = re.search(rf"^```{kind}\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    assert found is not None
    text = found[1].replace("https://GATEWAY", service.url)
    return text.replace("CLUSTER/FRAMEWORK", f"site/{FRAMEWORK}").replace("MODEL", MODEL)


@pytest.fixture
def home(service: BatchService, tmp_path: Path) -> Path:
    """Return a folder with an input, and with what prints a token."""
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "in.jsonl").write_bytes(lines())
    token = service.tokens["alice"]
    (folder / "inference_auth_token.py").write_text(HELPER.format(token=token))
    return folder


async def ran(command: list[str], home: Path) -> str:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return await run(command, home=home, environ={"PATH": path, "PYTHONPATH": str(home)})


@pytest.mark.row("C-26")
async def test_the_sdk_and_curl_get_an_answer_to_every_line(
    service: BatchService, site: BatchSite, home: Path, tmp_path: Path
) -> None:
    sdk = example("Send it with the openai SDK", "python", service)
    curl = example("Send it with curl", "sh", service)
    async with (
        batch_engine_in(tmp_path) as engine,
        site_that_runs_batches(site, engine),
        service.controlled(),
    ):
        for command in ([sys.executable, "-c", sdk], ["bash", "-euc", curl]):
            await ran(command, home)
            output = home / "out.jsonl"
            records = [json.loads(line) for line in output.read_text().splitlines()]
            assert [one["custom_id"] for one in records] == ["line-0", "line-1", "line-2"]
            output.unlink()
    # The example with curl deletes its input in the end.
    _, inputs = await service.ask("GET", "/v1/files?purpose=batch")
    assert len(inputs["data"]) == 1
    _, batches = await service.ask("GET", "/v1/batches")
    assert [one["status"] for one in batches["data"]] == ["completed", "completed"]


@pytest.mark.row("C-45", "C-50", "C-54")
async def test_a_file_of_the_cluster_is_named_with_curl(service: BatchService, home: Path) -> None:
    login = 'auth="Authorization: Bearer $(python inference_auth_token.py get_access_token)"\n'
    script = login + example("A file of the cluster", "sh", service)
    printed = await ran(["bash", "-euc", script], home)
    decoder, found = json.JSONDecoder(), []
    while printed:
        value, end = decoder.raw_decode(printed)
        found.append(value)
        printed = printed[end:].lstrip()
    listed, pending, status, result, cancelled = found
    assert listed == pending
    assert [one["status"] for one in listed] == ["pending"]
    assert status["status"] == "pending"
    assert result["error"]["code"] == "batch_not_over"
    assert cancelled["status"] == "running"
