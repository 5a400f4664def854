"""The lease: one holds it, who stops renewing loses it, and who wakes up late does nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from compute_functions.errors import LeaseLost
from compute_functions.site_agent.lease import MARGIN_S, TERM_S, Lease

GONE_AFTER_S = TERM_S + MARGIN_S + 1


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_the_first_who_asks_gets_it_and_nobody_else(tmp_path: Path, clock: Clock) -> None:
    first, second = Lease(tmp_path, clock=clock), Lease(tmp_path, clock=clock)

    assert first.acquire()
    assert first.fence == 1
    assert not second.acquire()
    first.require()
    with pytest.raises(LeaseLost):
        second.require()


def test_a_holder_who_renews_keeps_it(tmp_path: Path, clock: Clock) -> None:
    holder, waiting = Lease(tmp_path, clock=clock), Lease(tmp_path, clock=clock)
    holder.acquire()
    for _ in range(10):
        assert not waiting.acquire()
        clock.now += TERM_S / 2
        holder.renew()
    clock.now += TERM_S / 2
    assert not waiting.acquire()
    holder.require()


def test_who_was_stopped_loses_it_and_notices_when_it_wakes_up(
    tmp_path: Path, clock: Clock
) -> None:
    stopped, waiting = Lease(tmp_path, clock=clock), Lease(tmp_path, clock=clock)
    stopped.acquire()
    assert not waiting.acquire()
    clock.now += GONE_AFTER_S
    assert waiting.acquire()
    assert waiting.fence == 2
    for act in (stopped.require, stopped.renew):
        with pytest.raises(LeaseLost):
            act()
    waiting.require()
    assert not stopped.acquire()


def test_who_did_not_renew_in_time_does_nothing_even_if_nobody_took_it(
    tmp_path: Path, clock: Clock
) -> None:
    lease = Lease(tmp_path, clock=clock)
    lease.acquire()
    clock.now += TERM_S
    with pytest.raises(LeaseLost, match="not renewed in time"):
        lease.require()


def test_a_lease_that_is_let_go_is_free_at_once_under_a_higher_number(
    tmp_path: Path, clock: Clock
) -> None:
    first, second = Lease(tmp_path, clock=clock), Lease(tmp_path, clock=clock)
    first.acquire()
    first.release()
    assert second.holder() is None
    assert second.acquire()
    assert second.fence == 2
    first.release()
    second.require()


def test_a_number_above_that_of_jobs_can_be_asked_for(tmp_path: Path, clock: Clock) -> None:
    lease = Lease(tmp_path, clock=clock)
    assert lease.acquire(above=41)
    assert lease.fence == 42
    lease.require()


def test_the_lease_of_a_process_that_died_here_is_free_at_once(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from compute_functions.site_agent.lease import Lease; "
        "assert Lease(pathlib.Path(sys.argv[1])).acquire()"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=60)  # noqa: S603 # our own code
    lease = Lease(tmp_path)
    assert lease.acquire()
    assert lease.fence == 2


def test_the_holder_is_named(tmp_path: Path, clock: Clock) -> None:
    lease = Lease(tmp_path, clock=clock)
    assert lease.holder() is None
    lease.acquire()
    holder = lease.holder()
    assert holder is not None
    assert (holder.fence, holder.pid, holder.is_gone) == (1, os.getpid(), False)


def test_a_file_that_is_damaged_holds_nothing(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "lease.7.json").write_text("{half", encoding="utf-8")
    lease = Lease(tmp_path, clock=clock)
    assert lease.acquire()
    assert lease.fence == 8


def test_old_files_do_not_pile_up(tmp_path: Path, clock: Clock) -> None:
    for _ in range(5):
        lease = Lease(tmp_path, clock=clock)
        assert lease.acquire()
        lease.release()
    assert len(list(tmp_path.iterdir())) <= 2


def test_of_many_who_ask_at_once_one_gets_it(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as together:
        for attempt in range(20):
            folder = tmp_path / str(attempt)
            folder.mkdir()
            (folder / "lease.3.json").write_text("{}", encoding="utf-8")
            leases = [Lease(folder) for _ in range(8)]
            list(together.map(Lease.acquire, leases))
            assert sorted(lease.fence for lease in leases) == [0] * 7 + [4]


def test_a_listing_that_misses_our_file_does_not_cost_the_lease(
    tmp_path: Path, clock: Clock
) -> None:
    class SeesNothing(Lease):
        def _highest(self) -> int:
            return 0

    lease = SeesNothing(tmp_path, clock=clock)
    assert lease.acquire()
    lease.require()
    (tmp_path / "lease.1.json").unlink()
    with pytest.raises(LeaseLost, match="is gone"):
        lease.require()


def test_who_let_its_own_term_run_out_need_not_wait_for_itself(
    tmp_path: Path, clock: Clock
) -> None:
    lease = Lease(tmp_path, clock=clock)
    lease.acquire()
    clock.now += TERM_S
    with pytest.raises(LeaseLost):
        lease.check_time()
    assert lease.acquire()
    assert lease.fence == 2


@pytest.mark.parametrize("content", ["[[" * 9000, "[]", "null", '{"host": 3}'])
def test_whatever_stands_in_a_file_it_does_no_harm(
    tmp_path: Path, clock: Clock, content: str
) -> None:
    (tmp_path / "lease.7.json").write_text(content, encoding="utf-8")
    lease = Lease(tmp_path, clock=clock)
    assert lease.holder() is None
    assert lease.acquire()
