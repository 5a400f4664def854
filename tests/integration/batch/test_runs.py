"""Batches run by real processes against a real engine: what is asked, recorded and written."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from batch.__main__ import main
from batch.concurrency import LONG_START, MOST
from batch.progress import SILENT_S
from tests.support import batch_runs
from tests.support.batch_runs import (
    BatchEngine,
    batch_engine_in,
    batch_run,
    finished,
    json_lines,
    line,
    outcome,
    reached,
    results,
    write_input,
)
from tests.support.hanging_file import HangingFile
from tests.support.terminal import TerminalOf


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[BatchEngine]:
    async with batch_engine_in(tmp_path) as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "batch"


def input_of(tmp_path: Path, *texts: str) -> str:
    lines = (line(number, text) for number, text in enumerate(texts))
    return str(write_input(tmp_path / "in.jsonl", lines))


def output(folder: Path) -> list[dict[str, Any]]:
    return json_lines(folder / "output.jsonl")


@pytest.mark.row("C-43", "C-47")
async def test_each_line_gets_openais_output_line_in_the_order_of_the_input(
    engine: BatchEngine, tmp_path: Path, folder: Path
):
    texts = [f"sleep:0.{9 - number}" for number in range(9)]
    path = input_of(tmp_path, *texts)
    assert await finished(folder, path, "--socket", str(engine.socket)) == 0
    lines = output(folder)
    assert [one["custom_id"] for one in lines] == [f"line-{number}" for number in range(9)]
    assert len({one["id"] for one in lines}) == 9
    for one, text in zip(lines, texts, strict=True):
        response = one["response"]
        assert str(one["id"]).startswith("batch_req_")
        assert one["error"] is None
        assert response["status_code"] == 200
        assert response["request_id"]
        assert response["body"]["choices"][0]["message"]["content"] == f"{text}!"
    assert not (folder / "errors.jsonl").exists()

    over = outcome(folder)
    assert (over["status"], over["total"], over["completed"], over["failed"]) == (
        "completed",
        9,
        9,
        0,
    )
    assert over["use"]["input_tokens"] == 27
    assert over["use"]["output_tokens"] == 45
    metrics = over["metrics"]
    assert (metrics["total_tokens"], metrics["num_responses"], metrics["lines_processed"]) == (
        72,
        9,
        9,
    )
    # Lines were worked on for as long as the slowest took.
    assert metrics["response_time"] >= 0.9
    assert metrics["throughput_tokens_per_second"] == pytest.approx(
        72 / metrics["response_time"], rel=0.01
    )


async def test_a_line_that_fails_fails_no_batch_and_stands_in_the_error_file(
    engine: BatchEngine, tmp_path: Path, folder: Path
):
    path = input_of(tmp_path, "fine", "status:400", "once:500", "fine too")
    assert await finished(folder, path, "--socket", str(engine.socket)) == 0
    assert [one["custom_id"] for one in output(folder)] == ["line-0", "line-2", "line-3"]
    (failed,) = json_lines(folder / "errors.jsonl")
    assert failed["custom_id"] == "line-1"
    assert failed["response"]["status_code"] == 400
    assert failed["response"]["body"]["error"]["message"] == "as asked"
    assert failed["error"] == {"code": "test_error", "message": "as asked"}
    over = outcome(folder)
    assert (over["status"], over["completed"], over["failed"]) == ("completed", 3, 1)
    assert engine.asked["once:500"] == 2
    assert engine.asked["status:400"] == 1


async def test_lines_that_failed_are_told_and_done_in_another_run(
    engine: BatchEngine, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
):
    path = input_of(tmp_path, "fine", "once:400", "once:422")
    folder = tmp_path / "in.jsonl.batch"
    assert await finished(folder, path, "--socket", str(engine.socket)) == 0
    told = batch_runs.said(folder)[-1]["failures"]
    assert told["file"] == str(folder / "errors.jsonl")
    assert [(one["code"], one["lines"], one["custom_id"]) for one in told["codes"]] == [
        ("test_error", 2, "line-1")
    ]
    assert main(["remaining", path]) == 0
    rest = tmp_path / "rest.jsonl"
    rest.write_bytes(capfdbinary.readouterr().out)
    again = tmp_path / "rest.jsonl.batch"
    assert await finished(again, str(rest), "--socket", str(engine.socket)) == 0
    assert [one["custom_id"] for one in output(folder)] == ["line-0"]
    assert [one["custom_id"] for one in output(again)] == ["line-1", "line-2"]
    assert engine.asked == {"fine": 1, "once:400": 2, "once:422": 2}


async def test_sums_are_those_of_the_files(engine: BatchEngine, tmp_path: Path, folder: Path):
    path = input_of(tmp_path, "a", "b", "status:400")
    assert await finished(folder, path, "--socket", str(engine.socket)) == 0
    over = outcome(folder)
    for name, file in (("output", "output.jsonl"), ("error_file", "errors.jsonl")):
        content = (folder / file).read_bytes()
        assert over[name] == {
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "lines": content.count(b"\n"),
        }


async def test_a_batch_that_is_over_is_not_run_again(
    engine: BatchEngine, tmp_path: Path, folder: Path
):
    path = input_of(tmp_path, "a", "b")
    for _ in range(2):
        assert await finished(folder, path, "--socket", str(engine.socket)) == 0
    assert engine.asked.total() == 2
    assert batch_runs.names(folder / "epochs") == ["1"]


async def test_the_engine_gets_its_own_name_of_the_model_and_the_priority(
    engine: BatchEngine, tmp_path: Path, folder: Path
):
    path = input_of(tmp_path, "a")
    options = ("--socket", str(engine.socket), "--engine-model", "its own", "--priority", "7")
    assert await finished(folder, path, *options) == 0
    body = output(folder)[0]["response"]["body"]
    assert (body["model"], body["priority"]) == ("its own", 7)


async def test_an_input_with_mistakes_sends_nothing_and_fails_the_batch(
    engine: BatchEngine, tmp_path: Path, folder: Path
):
    path = write_input(tmp_path / "in.jsonl", [line(1), line(2), line(1)])
    assert await finished(folder, str(path), "--socket", str(engine.socket)) == 3
    over = outcome(folder)
    assert (over["status"], over["error_count"]) == ("failed", 1)
    assert over["errors"][0]["code"] == "duplicate_custom_id"
    assert over["errors"][0]["line"] == 3
    assert engine.asked.total() == 0


async def test_an_input_is_checked_without_an_engine_and_run_later(
    engine: BatchEngine, tmp_path: Path, folder: Path
):
    path = input_of(tmp_path, "a", "b")
    assert await finished(folder, path, "--no-engine") == 4
    assert batch_runs.progress(folder)["total"] == 2
    assert await finished(folder, path, "--socket", str(engine.socket)) == 0
    assert (outcome(folder)["completed"], outcome(folder)["resumed"]) == (2, 0)
    assert set(engine.asked.values()) == {1}
    bad = write_input(tmp_path / "bad.jsonl", [line(1), line(1)])
    assert await finished(tmp_path / "bad", str(bad), "--no-engine") == 3
    assert outcome(tmp_path / "bad")["errors"][0]["line"] == 2


async def test_without_an_engine_nobody_s_turn_is_taken_unless_that_is_said(
    tmp_path: Path, folder: Path
):
    path = input_of(tmp_path, "a")
    assert await finished(folder, path, "--no-engine") == 4
    # That one told something a moment ago.
    assert await finished(folder, path, "--no-engine") == 2
    assert batch_runs.said(folder)[-1]["message"].startswith("a runner seems to be at work there")
    assert batch_runs.names(folder / "epochs") == ["1"]
    assert await finished(folder, path, "--no-engine", "--epoch", "7") == 4
    told = batch_runs.progress(folder)
    (folder / "progress.json").write_text(json.dumps({**told, "at": told["at"] - SILENT_S}))
    assert await finished(folder, path, "--no-engine") == 4
    assert batch_runs.names(folder / "epochs") == ["1", "7", "8"]


async def test_without_an_engine_a_batch_that_is_over_is_told_and_a_mended_input_checked(
    tmp_path: Path,
):
    path = write_input(tmp_path / "in.jsonl", ["{}"])
    assert await batch_runs.by_hand("run", str(path), "--no-engine") == 3
    assert await batch_runs.by_hand("run", str(path), "--no-engine") == 3
    write_input(path, [line(1)])
    assert await batch_runs.by_hand("run", str(path), "--no-engine") == 4


async def test_without_an_engine_ctrl_c_waits_for_no_line(tmp_path: Path, folder: Path):
    path = input_of(tmp_path, "a")
    batch_runs.tell(folder, {})
    HangingFile.at(folder / "batch.json")
    async with batch_run(folder, path, "--no-engine") as run:
        await reached(lambda: batch_runs.progress(folder), run)
        run.signal(signal.SIGINT)
        assert await run.ended() == 4
    messages = [one["message"] for one in batch_runs.said(folder) if "message" in one]
    assert messages == ["asked to leave before the first line"]


async def test_what_gateways_reserve_is_one_s_own_before_an_engine_of_one_s_own(
    engine: BatchEngine, tmp_path: Path, folder: Path
):
    salted = line(1).replace('"messages"', '"cache_salt": "mine", "messages"')
    path = str(write_input(tmp_path / "in.jsonl", [salted]))
    assert await finished(folder, path, "--socket", str(engine.socket)) == 0
    assert outcome(folder)["completed"] == 1
    other = tmp_path / "other"
    options = ("--socket", str(engine.socket), "--reserved", "cache_salt")
    assert await finished(other, path, *options) == 3


async def test_a_person_mends_the_input_and_runs_it_again_in_the_same_place(
    engine: BatchEngine, tmp_path: Path
):
    path = write_input(tmp_path / "in.jsonl", ["{}"])
    assert await batch_runs.by_hand("run", str(path), "--socket", str(engine.socket)) == 3
    write_input(path, [line(1)])
    assert await batch_runs.by_hand("run", str(path), "--socket", str(engine.socket)) == 0
    assert outcome(tmp_path / "in.jsonl.batch")["completed"] == 1


@pytest.mark.parametrize("name", ["nope.jsonl", "no/such/in.jsonl", ".", "/"])
async def test_an_input_that_is_no_file_is_refused_and_nothing_is_made(tmp_path: Path, name: str):
    where = tmp_path / "where"
    where.mkdir()
    assert await batch_runs.by_hand("run", str(where / name)) == 3
    assert (batch_runs.names(tmp_path), batch_runs.names(where)) == (["where"], [])


async def test_an_input_that_is_gone_is_that_of_a_batch_that_has_begun(
    engine: BatchEngine, tmp_path: Path
):
    path = write_input(tmp_path / "in.jsonl", [line(1)])
    run = ("run", str(path), "--socket", str(engine.socket), "--patience-s", "1")
    await engine.kill()
    assert await batch_runs.by_hand(*run) == 4
    path.unlink()
    assert await batch_runs.by_hand(*run) == 6


async def test_cancel_begins_no_line_any_more_and_keeps_those_that_are_done(
    engine: BatchEngine, tmp_path: Path, folder: Path
):
    lines = [line(number, f"{number} sleep:0.2") for number in range(400)]
    path = write_input(tmp_path / "in.jsonl", lines)
    async with batch_run(
        folder, str(path), "--socket", str(engine.socket), "--concurrency", "8"
    ) as run:
        await reached(lambda: batch_runs.recorded(folder) > 0, run)
        batch_runs.tell(folder, {"cancel": True})
        assert await run.ended() == 0
    over = outcome(folder)
    assert over["status"] == "cancelled"
    assert over["completed"] == engine.asked.total() < 400
    errors = json_lines(folder / "errors.jsonl")
    assert {one["error"]["code"] for one in errors} == {"batch_cancelled"}
    assert all(one["response"] is None for one in errors)
    everybody = sorted(str(one["custom_id"]) for one in results(folder))
    assert everybody == sorted(f"line-{number}" for number in range(400))


async def test_lines_that_did_not_run_in_time_are_told_as_expired(
    engine: BatchEngine, tmp_path: Path, folder: Path
):
    lines = [line(number, f"{number} sleep:0.2") for number in range(400)]
    path = write_input(tmp_path / "in.jsonl", lines)
    async with batch_run(
        folder, str(path), "--socket", str(engine.socket), "--concurrency", "8"
    ) as run:
        await reached(lambda: batch_runs.recorded(folder) > 0, run)
        batch_runs.tell(folder, {"expires_at": time.time()})
        assert await run.ended() == 0
    over = outcome(folder)
    assert over["status"] == "expired"
    errors = json_lines(folder / "errors.jsonl")
    assert len(errors) == 400 - over["completed"]
    assert {one["error"]["code"] for one in errors} == {"batch_expired"}


@pytest.mark.parametrize(
    ("told", "status"), [({"cancel": True}, "cancelled"), ({"expires_at": 1.0}, "expired")]
)
async def test_a_line_that_takes_too_long_holds_up_no_end(
    engine: BatchEngine, tmp_path: Path, folder: Path, told: dict[str, object], status: str
):
    path = input_of(tmp_path, "quick", "sleep:600")
    options = (path, "--socket", str(engine.socket), "--drain-s", "0.5")
    async with batch_run(folder, *options) as run:
        await reached(lambda: engine.asked.total() == 2, run)
        batch_runs.tell(folder, told)
        assert await run.ended() == 0
    over = outcome(folder)
    assert (over["status"], over["completed"]) == (status, 1)
    (failed,) = json_lines(folder / "errors.jsonl")
    assert (failed["custom_id"], failed["error"]["code"]) == ("line-1", f"batch_{status}")


async def test_a_batch_cancelled_before_its_first_line_asks_nothing(
    engine: BatchEngine, tmp_path: Path, folder: Path
):
    batch_runs.tell(folder, {"cancel": True})
    path = input_of(tmp_path, "a", "b")
    assert await finished(folder, path, "--socket", str(engine.socket)) == 0
    assert (outcome(folder)["status"], outcome(folder)["total"]) == ("cancelled", 2)
    assert engine.asked.total() == 0


async def test_sigterm_waits_for_lines_under_way_and_the_next_run_goes_on(
    engine: BatchEngine, tmp_path: Path, folder: Path
):
    texts = [f"{number} sleep:0.5" for number in range(40)]
    path = input_of(tmp_path, *texts)
    options = (path, "--socket", str(engine.socket), "--concurrency", "8")
    async with batch_run(folder, *options) as run:
        await reached(lambda: engine.asked.total() > 8, run)
        run.signal(signal.SIGTERM)
        assert await run.ended() == 4
    begun = engine.asked.total()
    assert begun < 40
    assert await finished(folder, *options) == 0
    # Every line that was begun was awaited and recorded.
    assert set(engine.asked.values()) == {1}
    assert (outcome(folder)["completed"], outcome(folder)["resumed"]) == (40, 1)


async def test_lines_that_take_longer_than_the_drain_are_left_pending(
    engine: BatchEngine, tmp_path: Path, folder: Path
):
    path = input_of(tmp_path, "quick", "sleep:60")
    options = (path, "--socket", str(engine.socket), "--drain-s", "0.2")
    async with batch_run(folder, *options) as run:
        await reached(lambda: engine.asked.total() == 2, run)
        run.signal(signal.SIGTERM)
        assert await run.ended() == 4
    assert not (folder / "outcome.json").exists()


async def test_a_batch_takes_no_more_than_its_share_while_others_need_the_engine(
    engine: BatchEngine, tmp_path: Path, folder: Path
):
    load = tmp_path / "load.json"
    load.write_text(json.dumps({"interactive": 3, "at": time.time() + 3600}))
    batch_runs.tell(folder, {"share": 0.25})
    lines = [line(number, f"{number} sleep:0.4") for number in range(60)]
    path = write_input(tmp_path / "in.jsonl", lines)
    options = (str(path), "--socket", str(engine.socket), "--load", str(load))
    async with batch_run(folder, *options) as run:
        await reached(lambda: batch_runs.recorded(folder) > 8, run)
        # A quarter of the 32 that a runner begins with.
        assert batch_runs.progress(folder)["limit"] == 8
        load.write_text(json.dumps({"interactive": 0, "at": time.time() + 3600}))
        assert await run.ended() == 0
    assert outcome(folder)["completed"] == 60


async def test_less_than_one_line_at_a_time_is_one_with_rests_between(
    engine: BatchEngine, tmp_path: Path, folder: Path
):
    load = tmp_path / "load.json"
    news = {"interactive": 3, "at": time.time() + 3600, "allowance": 0.0}
    load.write_text(json.dumps(news))
    lines = [line(number, f"{number} sleep:0.3") for number in range(60)]
    path = write_input(tmp_path / "in.jsonl", lines)
    options = (str(path), "--socket", str(engine.socket), "--load", str(load))
    async with batch_run(folder, *options) as run:
        await reached((folder / "progress.json").exists, run)
        # None at all, until callers leave something over.
        await reached(lambda: batch_runs.progress(folder)["limit"] == 0, run)
        assert engine.asked.total() == 0
        load.write_text(json.dumps(news | {"allowance": 0.01}))
        await reached(lambda: batch_runs.progress(folder)["under_way"] == 1, run)
        assert batch_runs.progress(folder)["limit"] == 1
        await reached(lambda: batch_runs.progress(folder)["under_way"] == 0, run)
        assert 0 < batch_runs.recorded(folder) < 60
        load.write_text(json.dumps(news | {"interactive": 0}))
        assert await run.ended() == 0
    assert outcome(folder)["completed"] == 60


async def test_a_person_sees_how_far_it_is(engine: BatchEngine, tmp_path: Path, folder: Path):
    path = input_of(tmp_path, "a", "b", "status:400")
    assert await finished(folder, path, "--socket", str(engine.socket)) == 0
    told = await batch_runs.status(folder)
    assert "completed: 2 of 3 lines answered, 1 failed" in told
    assert str(folder / "output.jsonl") in told
    values = json.loads(await batch_runs.status(folder, "--json"))
    assert values["outcome"] == outcome(folder)


async def test_a_runner_without_a_terminal_prints_json_lines(
    engine: BatchEngine, tmp_path: Path, folder: Path
):
    path = input_of(tmp_path, "a")
    async with batch_run(folder, path, "--socket", str(engine.socket)) as run:
        assert await run.ended() == 0
    printed = [one for one in run.log.read_text().splitlines() if one.startswith("{")]
    stages = [json.loads(one) for one in printed]
    assert "progress" in stages[0]
    assert stages[-1]["outcome"]["status"] == "completed"
    assert "question" not in run.log.read_text()


async def test_whoever_watches_a_batch_sees_its_end(
    engine: BatchEngine, tmp_path: Path, folder: Path
):
    path = input_of(tmp_path, *(f"{number} sleep:0.3" for number in range(20)))
    async with batch_run(folder, path, "--socket", str(engine.socket), "--concurrency", "4") as run:
        await reached((folder / "progress.json").exists, run)
        told = await batch_runs.status(folder, "--watch", "--json")
        assert await run.ended() == 0
    lines = [json.loads(one) for one in told.splitlines()]
    assert "progress" in lines[0]
    assert lines[-1]["outcome"]["completed"] == 20


async def test_a_folder_without_a_batch_and_a_key_that_is_not_there_are_wrong_arguments(
    tmp_path: Path,
):
    nothing = str(tmp_path / "nothing")
    assert await batch_runs.by_hand("run", nothing, "--api-key-file", nothing) == 2
    assert await batch_runs.by_hand("run") == 2
    assert await batch_runs.by_hand("run", nothing, "--concurrency", "0") == 2
    assert await batch_runs.by_hand("run", nothing, "--url", "127.0.0.1:8000") == 2
    assert await batch_runs.by_hand("status", nothing) == 2


async def test_a_key_that_the_engine_refuses_ends_the_run_and_fails_no_line(
    engine: BatchEngine, tmp_path: Path, folder: Path
):
    path = input_of(tmp_path, "status:401", "status:401")
    async with batch_run(folder, path, "--socket", str(engine.socket)) as run:
        assert await run.ended() == 4
    assert "the engine refuses the key (401)" in run.log.read_text()
    assert "give --api-key-file" in run.log.read_text()
    assert not (folder / "outcome.json").exists()
    assert batch_runs.recorded(folder) == 0
    key = tmp_path / "key"
    key.write_text("wrong")
    options = (path, "--socket", str(engine.socket), "--api-key-file", str(key))
    async with batch_run(folder, *options) as run:
        assert await run.ended() == 4
    assert f"{key} holds another key than the engine's" in run.log.read_text()


@pytest.mark.parametrize(("status", "again"), [(401, False), (500, True)])
async def test_on_a_terminal_nobody_is_told_to_give_what_would_fail_again(
    engine: BatchEngine, tmp_path: Path, folder: Path, status: int, again: bool
):
    path = input_of(tmp_path, *(f"{number} status:{status}" for number in range(60)))
    options = ("--folder", str(folder), "--socket", str(engine.socket), "--patience-s", "0.5")
    with TerminalOf(columns=200) as terminal:
        assert await batch_runs.by_hand("run", path, *options, shown=terminal.slave) == 4
        assert ("To go on:" in terminal.seen) is again


async def test_on_a_terminal_who_has_no_engine_is_not_told_to_go_on_without(
    tmp_path: Path, folder: Path
):
    options = (input_of(tmp_path, "a"), "--folder", str(folder), "--no-engine")
    with TerminalOf(columns=200) as terminal:
        assert await batch_runs.by_hand("run", *options, shown=terminal.slave) == 4
        assert "the input is good" in terminal.seen
        assert "To go on:" not in terminal.seen


async def test_an_engine_that_refuses_everything_is_given_up_in_its_own_words(
    engine: BatchEngine, tmp_path: Path, folder: Path
):
    path = input_of(tmp_path, *(f"{number} status:500" for number in range(300)))
    options = (path, "--socket", str(engine.socket), "--patience-s", "1")
    async with batch_run(folder, *options) as run:
        assert await run.ended() == 4
    assert not (folder / "outcome.json").exists()
    refusal = f"the engine at {engine.socket} refuses every line: status 500, as asked"
    assert batch_runs.progress(folder)["refusal"] == refusal
    assert refusal in run.log.read_text()
    # A window, and a few one at a time.
    assert engine.asked.total() < LONG_START + 8
    assert set(engine.asked.values()) == {1}


async def test_an_engine_that_tells_its_queue_is_not_swamped(tmp_path: Path, folder: Path):
    async with batch_engine_in(tmp_path, delay_s=0.1, slots=4) as engine:
        path = write_input(tmp_path / "in.jsonl", (line(number) for number in range(200)))
        assert await finished(folder, str(path), "--socket", str(engine.socket)) == 0
    # Of the 32 that a runner begins with 28 would wait.
    assert 4 <= batch_runs.progress(folder)["limit"] <= 16
    assert outcome(folder)["completed"] == 200


@pytest.mark.parametrize(("hard", "raised"), [(4_096, MOST + 64), (512, 512)])
async def test_a_run_takes_files_for_its_connections_and_the_processor_from_nobody(
    engine: BatchEngine, tmp_path: Path, folder: Path, hard: int, raised: int
):
    path = input_of(tmp_path, "sleep:30")
    options = (path, "--socket", str(engine.socket))
    async with batch_run(folder, *options, files=(256, hard)) as run:
        await reached(lambda: engine.asked, run)
        assert resource.prlimit(run.pid, resource.RLIMIT_NOFILE) == (raised, hard)
        assert os.sched_getscheduler(run.pid) == os.SCHED_BATCH


async def test_a_run_has_no_more_connections_than_files(tmp_path: Path, folder: Path):
    async with batch_engine_in(tmp_path, delay_s=0.2, slots=200) as engine:
        path = write_input(tmp_path / "in.jsonl", (line(number) for number in range(600)))
        options = (str(path), "--socket", str(engine.socket))
        async with batch_run(folder, *options, files=(96, 128)) as run:
            assert await run.ended() == 0
    assert outcome(folder)["completed"] == 600
