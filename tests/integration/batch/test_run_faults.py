"""Whatever dies, a line is pending or recorded: runners, engines, disks and inputs that fail.

Every process here is real and every fault is one: signals, a journal that is damaged on the disk,
a file system that refuses.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from batch.company import MOST_LOSSES
from batch.journal import replay
from tests.support import batch_runs
from tests.support.batch_runs import (
    BatchEngine,
    batch_engine_in,
    batch_run,
    finished,
    line,
    outcome,
    reached,
    results,
    write_input,
)
from tests.support.eventually import eventually

LINES = 1200
#: Enough for twenty runs that are killed.
MANY = 5000


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[BatchEngine]:
    async with batch_engine_in(tmp_path, delay_s=0.02) as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "batch"


@pytest.fixture
def options(engine: BatchEngine, tmp_path: Path) -> tuple[str, ...]:
    path = write_input(tmp_path / "in.jsonl", (line(number) for number in range(LINES)))
    return (str(path), "--socket", str(engine.socket), "--concurrency", "8")


def journalled(folder: Path, total: int = LINES) -> set[str]:
    """Return the texts of the lines that the journal holds."""
    found = replay.replay(folder / "journal", total, ends=replay.seals(folder / "journal")).recorded
    return {f"question {number - 1}" for number in range(1, total + 1) if found.has(number)}


def require_whole(folder: Path, total: int = LINES) -> None:
    """Every line has exactly one result, and each is the answer to its own question."""
    assert outcome(folder)["status"] == "completed"
    lines = results(folder)
    assert [one["custom_id"] for one in lines] == [f"line-{number}" for number in range(total)]
    contents = [one["response"]["body"]["choices"][0]["message"]["content"] for one in lines]
    assert contents == [f"question {number}!" for number in range(total)]


@pytest.mark.timeout(300)
async def test_twenty_kills_lose_no_line_and_no_recorded_line_is_asked_again(
    engine: BatchEngine, tmp_path: Path, folder: Path
):
    path = write_input(tmp_path / "in.jsonl", (line(number) for number in range(MANY)))
    options = (str(path), "--socket", str(engine.socket), "--concurrency", "8")
    chance = random.Random(20)  # noqa: S311 - moments, not secrets
    (folder / "journal").mkdir(parents=True)
    for _ in range(20):
        recorded, asked = journalled(folder, MANY), engine.asked
        async with batch_run(folder, *options) as run:
            enough = asked.total() + chance.randrange(60)
            await reached(lambda: engine.asked.total() >= enough, run)  # noqa: B023 - awaited here
            await asyncio.sleep(chance.random() * 0.6)
            assert run.running, "the batch is too short for twenty kills"
            run.signal(signal.SIGKILL)
            await run.ended()
        assert not recorded & set(engine.asked - asked)
    recorded, asked = journalled(folder, MANY), engine.asked
    assert len(recorded) > 0
    assert await finished(folder, *options, "--concurrency", "256") == 0
    assert not recorded & set(engine.asked - asked)
    require_whole(folder, MANY)


async def test_a_runner_that_was_stopped_and_taken_over_changes_nothing_when_it_goes_on(
    engine: BatchEngine, folder: Path, options: tuple[str, ...]
):
    async with batch_run(folder, *options) as first:
        await reached(lambda: batch_runs.recorded(folder) > 100, first)
        first.signal(signal.SIGSTOP)
        assert await finished(folder, *options) == 0
        require_whole(folder)
        before = contents(folder)
        first.signal(signal.SIGCONT)
        assert await first.ended() == 5
    assert contents(folder) == before


async def test_a_runner_that_wakes_up_beside_its_successor_asks_for_nothing(
    engine: BatchEngine, folder: Path, options: tuple[str, ...]
):
    async with batch_run(folder, *options) as first:
        await reached(lambda: batch_runs.recorded(folder) > 100, first)
        first.signal(signal.SIGSTOP)
        # That takes longer than a runner may go on without a look at whose turn it is: eight lines
        # at a time, each in a fiftieth of a second.
        async with batch_run(folder, *options) as second:
            await reached(lambda: batch_runs.recorded(folder) > 800, second)
            assert second.running
            recorded, asked = journalled(folder), engine.asked
            first.signal(signal.SIGCONT)
            assert await first.ended() == 5
            assert await second.ended() == 0
    # What the first one took for pending was recorded long ago.
    assert not recorded & set(engine.asked - asked)
    require_whole(folder)


async def test_of_two_runners_at_once_the_later_one_goes_on_and_the_first_leaves(
    engine: BatchEngine, folder: Path, options: tuple[str, ...]
):
    async with batch_run(folder, *options) as first:
        await reached(lambda: batch_runs.recorded(folder) > 0, first)
        async with batch_run(folder, *options) as second:
            assert await first.ended() == 5
            assert await second.ended() == 0
    require_whole(folder)
    # What both had under way at that moment, and no more, may have been asked twice.
    assert max(engine.asked.values()) <= 2


async def test_an_epoch_that_is_not_above_all_is_refused(folder: Path, options: tuple[str, ...]):
    async with batch_run(folder, *options, "--epoch", "7", "--concurrency", "1") as run:
        await reached(lambda: batch_runs.recorded(folder) > 0, run)
        assert await finished(folder, *options, "--epoch", "7") == 5
        assert await finished(folder, *options, "--epoch", "6") == 5
        run.signal(signal.SIGTERM)
        assert await run.ended() == 4
    assert await finished(folder, *options, "--epoch", "9") == 0
    require_whole(folder)


async def test_an_engine_that_is_killed_and_comes_back_costs_no_line(
    engine: BatchEngine, folder: Path, options: tuple[str, ...]
):
    async with batch_run(folder, *options) as run:
        for more in (100, 400):
            await reached(lambda: batch_runs.recorded(folder) > more, run)  # noqa: B023 - awaited here
            await engine.kill()
            await eventually(lambda: batch_runs.progress(folder)["stage"] == "waiting")
            assert str(engine.socket) in str(batch_runs.progress(folder)["reason"])
            await engine.start()
        assert await run.ended() == 0
    require_whole(folder)
    assert outcome(folder)["failed"] == 0


async def test_a_runner_loses_patience_with_an_engine_that_stays_away_and_keeps_what_it_has(
    engine: BatchEngine, folder: Path, options: tuple[str, ...]
):
    async with batch_run(folder, *options, "--patience-s", "1") as run:
        await reached(lambda: batch_runs.recorded(folder) > 100, run)
        await engine.kill()
        assert await run.ended() == 4
    recorded, asked = journalled(folder), engine.asked
    assert len(recorded) > 100
    await engine.start()
    assert await finished(folder, *options) == 0
    assert not recorded & set(engine.asked - asked)
    require_whole(folder)


async def test_a_line_that_breaks_every_connection_is_given_up_whoever_asks_it(
    tmp_path: Path, folder: Path
):
    async with batch_engine_in(tmp_path) as engine:
        path = write_input(tmp_path / "in.jsonl", [line(1), line(2, "hangup"), line(3)])
        options = (str(path), "--socket", str(engine.socket))
        async with batch_run(folder, *options) as run:
            await reached(lambda: engine.asked["hangup"] >= 3, run)
            await asyncio.sleep(1)
            run.signal(signal.SIGKILL)
            await run.ended()
        assert await finished(folder, *options) == 0
        assert engine.asked["hangup"] == MOST_LOSSES
    by_id = {one["custom_id"]: one["error"] for one in results(folder)}
    assert by_id["line-1"] is None
    assert by_id["line-3"] is None
    assert by_id["line-2"]["code"] == "connection_lost"


async def test_a_full_disk_ends_the_run_and_more_room_lets_it_go_on(
    engine: BatchEngine, folder: Path, options: tuple[str, ...]
):
    # A file system's quota, as the process sees it: no file of it gets larger than this.
    async with batch_run(folder, *options, most_file_bytes=150_000) as run:
        assert await run.ended() == 6
    recorded, asked = journalled(folder), engine.asked
    assert 0 < len(recorded) < LINES
    assert batch_runs.recorded(folder) <= len(recorded)
    assert not (folder / "outcome.json").exists()
    assert await finished(folder, *options) == 0
    assert not recorded & set(engine.asked - asked)
    require_whole(folder)


async def test_runners_that_a_full_disk_ends_blame_no_line(
    engine: BatchEngine, tmp_path: Path, folder: Path
):
    # There is room for all but its answer.
    path = write_input(tmp_path / "in.jsonl", [line(1, 20_000 * "x")])
    options = (str(path), "--socket", str(engine.socket))
    for _ in range(MOST_LOSSES + 2):
        async with batch_run(folder, *options, most_file_bytes=10_000) as run:
            assert await run.ended() == 6
    assert await finished(folder, *options) == 0
    assert (outcome(folder)["completed"], outcome(folder)["failed"]) == (1, 0)
    assert engine.asked.total() == MOST_LOSSES + 3


def renamed(folder: Path) -> Callable[[], None]:
    """Take the whole folder away; the runner may have opened files in there still."""
    away = folder.with_name("away")
    folder.rename(away)

    def back() -> None:
        away.rename(folder)

    return back


def epochs_gone(folder: Path) -> Callable[[], None]:
    """Take away what says whose turn it is."""
    epochs, away = folder / "epochs", folder / "gone"
    epochs.rename(away)

    def back() -> None:
        away.rename(epochs)

    return back


@pytest.mark.parametrize("vanish", [renamed, epochs_gone])
async def test_a_file_system_that_vanishes_ends_the_run_and_it_goes_on_when_it_is_back(
    engine: BatchEngine,
    folder: Path,
    options: tuple[str, ...],
    vanish: Callable[[Path], Callable[[], None]],
):
    async with batch_run(folder, *options) as run:
        await reached(lambda: batch_runs.recorded(folder) > 0, run)
        bring_back = vanish(folder)
        assert await run.ended() == 6
    bring_back()
    recorded, asked = journalled(folder), engine.asked
    assert await finished(folder, *options) == 0
    assert not recorded & set(engine.asked - asked)
    require_whole(folder)


async def test_an_input_that_changed_between_two_runs_fails_the_batch_and_keeps_what_was_done(
    engine: BatchEngine, tmp_path: Path, folder: Path, options: tuple[str, ...]
):
    async with batch_run(folder, *options) as run:
        await reached(lambda: batch_runs.recorded(folder) > 0, run)
        run.signal(signal.SIGTERM)
        assert await run.ended() == 4
    done, asked = journalled(folder), engine.asked
    path = tmp_path / "in.jsonl"
    path.write_text(path.read_text().replace("question 1199", "question 9999"))
    assert await finished(folder, *options) == 3
    assert engine.asked == asked
    over = outcome(folder)
    assert (over["status"], over["errors"][0]["code"]) == ("failed", "input_changed")
    assert {str(one["custom_id"]) for one in results(folder)} == {
        f"line-{text.split()[1]}" for text in done
    }


async def test_an_input_that_changes_while_it_is_run_fails_the_batch(
    engine: BatchEngine, tmp_path: Path, folder: Path, options: tuple[str, ...]
):
    async with batch_run(folder, *options) as run:
        await reached(lambda: batch_runs.recorded(folder) > 0, run)
        with (tmp_path / "in.jsonl").open("a") as file:
            file.write(line(LINES) + "\n")
        assert await run.ended() == 3
    assert outcome(folder)["errors"][0]["code"] == "input_changed"
    assert len(results(folder)) > 0


@pytest.mark.parametrize("seed", range(4))
async def test_a_journal_that_is_damaged_on_the_disk_costs_only_the_lines_it_held(
    engine: BatchEngine, folder: Path, options: tuple[str, ...], seed: int
):
    async with batch_run(folder, *options) as run:
        await reached(lambda: batch_runs.recorded(folder) > 100, run)
        run.signal(signal.SIGKILL)
        await run.ended()
    damage(folder / "journal" / "1.journal", random.Random(seed))  # noqa: S311 - damage, not secrets
    recorded, asked = journalled(folder), engine.asked
    assert await finished(folder, *options) == 0
    assert not recorded & set(engine.asked - asked)
    require_whole(folder)


def damage(path: Path, chance: random.Random) -> None:
    """Flip some bytes anywhere, and tear off the end."""
    content = bytearray(path.read_bytes())
    for _ in range(20):
        content[chance.randrange(len(content))] ^= chance.randrange(1, 256)
    path.write_bytes(content[: len(content) - chance.randrange(300)])


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file of a batch folder but the drafts of one that is being replaced."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


async def test_results_are_the_same_files_however_often_the_run_was_interrupted(
    engine: BatchEngine, tmp_path: Path, folder: Path, options: tuple[str, ...]
):
    async with batch_run(folder, *options) as run:
        await reached(lambda: batch_runs.recorded(folder) > 100, run)
        run.signal(signal.SIGTERM)
        assert await run.ended() == 4
    early = {one["custom_id"]: one["id"] for one in results(folder)}
    assert early == {}
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    for place in (folder, copy):
        assert await finished(place, *options) == 0
    ids = [[one["id"] for one in results(place)] for place in (folder, copy)]
    assert ids[0] == ids[1]
    assert len(set(ids[0])) == LINES
    assert not [name for name in batch_runs.names(folder) if name.startswith(".")]
