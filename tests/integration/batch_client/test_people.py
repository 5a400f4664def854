"""What a person does with batches at a real gateway, and a site that runs them."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from resource_server.domain.files import FileRules
from tests.support.batch_client import Person, person
from tests.support.batch_gateway import (
    UNBATCHED,
    BatchService,
    served_batches,
    site_that_runs_batches,
)
from tests.support.batch_orders import BatchSite
from tests.support.batch_runs import batch_engine_in
from tests.support.local_globus import LocalGlobus
from tests.support.slurm_site import MODEL

People = tuple[LocalGlobus, dict[str, str]]


def write(path: Path, *texts: str, model: str = MODEL) -> Path:
    """Write an input whose lines ask these texts."""
    lines = (
        {
            "custom_id": f"line-{number}",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"model": model, "messages": [{"role": "user", "content": text}]},
        }
        for number, text in enumerate(texts)
    )
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return path


def records(path: Path) -> dict[str, Any]:
    """Return the records of a file by `custom_id`."""
    found = [json.loads(line) for line in path.read_text().splitlines()]
    assert len({record["custom_id"] for record in found}) == len(found)
    return {record["custom_id"]: record for record in found}


def content(record: dict[str, Any]) -> str:
    text: str = record["response"]["body"]["choices"][0]["message"]["content"]
    return text


@pytest.mark.row("C-26", "C-58")
async def test_submit_watch_results(
    service: BatchService, alice: Person, site: BatchSite, tmp_path: Path
) -> None:
    write(alice.folder / "in.jsonl", "first", "second", "third status:400")
    async with (
        batch_engine_in(tmp_path) as engine,
        service.controlled(),
        site_that_runs_batches(site, engine),
    ):
        submitted = await alice.batch("submit", "in.jsonl", "--quiet", "--metadata", "run=7")
        assert submitted.status == 0, submitted.err
        batch_id = submitted.out.removesuffix("\n")
        assert batch_id.startswith("batch_")
        assert "\n" not in batch_id
        watched = await alice.batch("watch", batch_id)
        assert watched.status == 1
        assert "completed: 2 of 3 lines answered, 1 failed" in watched.out
        assert f"python -m batch results {batch_id}" in watched.out
        assert "as of line-2: as asked\n" in watched.out
        fetched = await alice.batch("results", batch_id, "--output", "out.jsonl")
    assert fetched.status == 1
    good = records(alice.folder / "out.jsonl")
    assert {name: content(record) for name, record in good.items()} == {
        "line-0": "first!",
        "line-1": "second!",
    }
    [(name, record)] = records(alice.folder / f"{batch_id}.errors.jsonl").items()
    assert (name, record["response"]["status_code"]) == ("line-2", 400)
    [listed] = (await alice.batch("list", "--json")).lines
    [batch] = listed["batches"]
    assert batch["id"] == batch_id
    assert batch["metadata"] == {"run": "7"}


async def test_what_was_cancelled_is_resumed_and_merged(
    service: BatchService, alice: Person, site: BatchSite, tmp_path: Path
) -> None:
    texts = ["quick", "slow sleep:4"] + [f"later {number} sleep:1" for number in range(1300)]
    write(alice.folder / "in.jsonl", *texts)
    async with (
        batch_engine_in(tmp_path) as engine,
        service.controlled(),
        site_that_runs_batches(site, engine),
    ):
        first = (await alice.batch("submit", "in.jsonl", "--quiet")).out.strip()
        async with alice.begun("watch", first) as watching:
            await watching.says("in_progress")
            cancelled = await alice.batch("cancel", first, "--watch")
            assert cancelled.status == 4, cancelled.err
            assert f"python -m batch resume {first}" in cancelled.out
            assert (await watching.ended()).status == 4
        resumed = await alice.batch("resume", first, "--watch", "--json")
        assert resumed.status == 0, resumed.out
        second = resumed.lines[-1]["batch"]
        assert second["metadata"] == {"resumed_from": first}
        one, two = await alice.batch("results", first, "--json"), second["request_counts"]
        kept = records(alice.folder / f"{first}.output.jsonl")
        assert 0 < len(kept) < len(texts)
        assert two["total"] == len(texts) - len(kept)
        assert one.status == 4
        merged = await alice.batch("results", second["id"], "--merge", "--output", "all.jsonl")
        assert merged.status == 0, merged.err
        nothing = await alice.batch("resume", second["id"])
    assert nothing.status == 0
    assert "have a good answer" in nothing.err
    found = records(alice.folder / "all.jsonl")
    assert [content(found[f"line-{number}"]) for number in range(len(texts))] == [
        f"{text}!" for text in texts
    ]
    # What was answered before was not asked again.
    assert all(engine.asked[content(record)[:-1]] == 1 for record in kept.values())


async def test_a_bad_file_is_not_sent(service: BatchService, alice: Person) -> None:
    path = write(alice.folder / "in.jsonl", "first")
    path.write_text(path.read_text() * 2)
    refused = await alice.batch("submit", "in.jsonl")
    assert refused.status == 3
    assert "duplicate_custom_id" in refused.out
    assert service.on_disk == []


async def test_a_batch_that_fails_at_the_site_says_why(
    service: BatchService, alice: Person, site: BatchSite
) -> None:
    path = write(alice.folder / "in.jsonl", "first")
    path.write_text(path.read_text() * 2)
    async with service.controlled():
        failed = await alice.batch("submit", "in.jsonl", "--no-validate", "--watch")
    assert failed.status == 3
    assert "line 2: duplicate_custom_id" in failed.out


async def test_who_may_not_is_told_before_anything_is_sent(
    service: BatchService, eve: Person, alice: Person
) -> None:
    write(eve.folder / "in.jsonl", "first")
    refused = await eve.batch("submit", "in.jsonl")
    assert refused.status == 5
    assert "(403 permission_denied)" in refused.err
    write(alice.folder / "in.jsonl", "first", model=UNBATCHED)
    refused = await alice.batch("submit", "in.jsonl")
    assert refused.status == 5
    assert "batches" in refused.err
    # What was sent for it is not kept.
    status, files = await service.ask("GET", "/v1/files")
    assert (status, files["data"]) == (200, [])


async def test_a_file_that_is_too_large_is_refused_before_it_is_sent(
    people: People, tmp_path: Path, database: None
) -> None:
    rules = FileRules(most_bytes=100_000)
    async with served_batches(people, tmp_path / "files", rules=rules) as service:
        alice = person(service, tmp_path, "alice")
        write(alice.folder / "in.jsonl", *("much " * 1_000 for _ in range(2_000)))
        refused = await alice.batch("submit", "in.jsonl")
    assert refused.status == 5
    assert "(413 payload_too_large)" in refused.err
    assert "asking again" not in refused.err


async def test_another_s_batch_is_none(service: BatchService, alice: Person, eve: Person) -> None:
    write(alice.folder / "in.jsonl", "first")
    made = (await alice.batch("submit", "in.jsonl", "--quiet")).out.strip()
    for command in ("watch", "cancel"):
        refused = await eve.batch(command, made)
        assert refused.status == 5
        assert "(404 " in refused.err


async def test_who_has_another_service_s_token_set_is_told_to_unset_it(alice: Person) -> None:
    bad = Person(folder=alice.folder, base_url=alice.base_url, token="no-token")
    refused = await bad.batch("list")
    assert refused.status == 5
    assert "the token in OPENAI_API_KEY: unset that" in refused.err
    assert "inference_auth_token.py authenticate" not in refused.err


async def test_who_stops_watching_leaves_the_batch_running(
    service: BatchService, alice: Person
) -> None:
    write(alice.folder / "in.jsonl", "first")
    async with alice.begun("submit", "in.jsonl", "--watch") as running:
        await running.says("validating")
        running.process.send_signal(signal.SIGINT)
        ended = await running.ended()
    assert ended.status == 130
    [made] = (await service.ask("GET", "/v1/batches"))[1]["data"]
    assert f"python -m batch watch {made['id']}" in ended.err
    assert made["status"] == "validating"


@pytest.mark.row("C-45", "C-46")
async def test_a_file_of_the_cluster_is_named_by_its_path(
    service: BatchService, alice: Person
) -> None:
    made = await alice.batch(
        *("submit", "--site-path", "/project/in.jsonl", "--output-folder", "/project/out"),
        *("--model", MODEL, "--json"),
    )
    assert made.status == 0, made.out
    [line] = made.lines
    assert line["batch"]["input_file"] == "/project/in.jsonl"
    assert line["batch"]["output_folder_path"] == "/project/out"
    unnamed = await alice.batch("submit", "--site-path", "/project/in.jsonl")
    assert unnamed.status == 5
    assert "Name the model" in unnamed.err
