"""Wishes that come as tasks: in order, once each, and never so many that they fill a disk."""

from __future__ import annotations

from pathlib import Path

from compute_functions.contract import Demand, DesiredState, Wishes
from compute_functions.site_agent.inbox import DEMAND_GOOD_S, MOST_WAITING, Inbox


def wishes(revision: int) -> Wishes:
    return Wishes(
        desired=DesiredState(generation=1, revision=revision), demand=Demand(hub=f"h{revision}")
    )


def take(inbox: Inbox, *, now_ns: int = 0) -> list[Wishes]:
    waiting = inbox.look(now_ns=now_ns)
    inbox.remove(waiting)
    return [one.wishes for one in waiting]


def test_wishes_are_taken_once_and_in_order(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "inbox")
    assert take(inbox) == []
    for n in (9, 10, 11):
        inbox.put(wishes(n), now_ns=n)
    assert take(inbox) == [wishes(9), wishes(10), wishes(11)]
    assert take(inbox) == []


def test_what_was_looked_at_and_not_removed_is_there_for_the_next_agent(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "inbox")
    inbox.put(wishes(1), now_ns=1)
    inbox.look(now_ns=1)
    assert take(inbox) == [wishes(1)]


def test_a_demand_that_has_waited_says_nothing_of_now(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "inbox")
    inbox.put(wishes(1), now_ns=1)
    (taken,) = take(inbox, now_ns=int((DEMAND_GOOD_S + 1) * 1e9))
    assert taken == Wishes(desired=wishes(1).desired)


def test_without_an_agent_the_newest_wait(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "inbox")
    for n in range(MOST_WAITING + 5):
        inbox.put(wishes(n), now_ns=n)
    taken = take(inbox)
    assert len(taken) == MOST_WAITING
    assert taken[-1] == wishes(MOST_WAITING + 4)


def test_a_damaged_file_keeps_nobody_from_the_rest(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "inbox")
    inbox.put(wishes(2), now_ns=2)
    (tmp_path / "inbox" / "0-half.json").write_text("{half", encoding="utf-8")
    assert wishes(2) in take(inbox)
    assert list((tmp_path / "inbox").iterdir()) == []
