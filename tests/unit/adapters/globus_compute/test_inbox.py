"""Results find their callers, in whatever order both arrive, and nothing piles up."""

from __future__ import annotations

from resource_server.adapters.globus_compute import inbox as inbox_module
from resource_server.adapters.globus_compute.calls import Call, Lane, TaskResult
from resource_server.adapters.globus_compute.inbox import EARLY_BYTES, Inbox


def call(task_id: str) -> Call:
    return Call(
        lane=Lane.of("e", {}),
        function_id="f",
        argument={},
        size=1,
        deadline=1.0,
        queued_at=0.0,
        task_id=task_id,
    )


def result(task_id: str, size: int = 10) -> TaskResult:
    return TaskResult(task_id=task_id, value="said", size=size)


async def test_a_result_reaches_the_call_that_waits_for_it() -> None:
    inbox, waiting, other = Inbox(), call("1"), call("2")
    inbox.expect(waiting)
    inbox.expect(other)
    inbox.deliver(result("1"))
    assert waiting.result.result().value == "said"
    assert not other.result.done()
    assert inbox.waiting == [other]


async def test_a_result_that_overtakes_the_receipt_is_kept_for_its_call() -> None:
    inbox, early = Inbox(), call("1")
    with inbox.submitting():
        inbox.deliver(result("1"))
        inbox.expect(early)
    assert early.result.result().value == "said"
    assert len(inbox) == 0


async def test_results_for_nobody_are_not_kept() -> None:
    inbox, later = Inbox(), call("1")
    inbox.deliver(result("1"))
    with inbox.submitting():
        inbox.deliver(result("1"))
    with inbox.submitting():
        inbox.expect(later)
    assert not later.result.done()


async def test_one_submission_does_not_end_the_keeping_of_another() -> None:
    inbox, early = Inbox(), call("1")
    with inbox.submitting():
        with inbox.submitting():
            inbox.deliver(result("1"))
        inbox.expect(early)
    assert early.result.done()


async def test_early_results_are_bounded() -> None:
    inbox, fits, too_much = Inbox(), call("1"), call("2")
    with inbox.submitting():
        inbox.deliver(result("1", EARLY_BYTES))
        inbox.deliver(result("2", 1))
        inbox.expect(fits)
        inbox.expect(too_much)
    assert fits.result.done()
    assert not too_much.result.done()
    assert inbox_module.EARLY_BYTES <= 64 * 1024 * 1024


async def test_duplicates_and_late_results_change_nothing() -> None:
    inbox, waiting, left = Inbox(), call("1"), call("2")
    inbox.expect(waiting)
    inbox.expect(left)
    inbox.forget(left)
    inbox.deliver(result("1"))
    inbox.deliver(TaskResult(task_id="1", value="again"))
    inbox.deliver(result("2"))
    assert waiting.result.result().value == "said"
    assert not left.result.done()
    assert len(inbox) == 0


async def test_a_caller_who_left_during_the_submission_is_not_waited_for() -> None:
    inbox, left = Inbox(), call("1")
    left.result.cancel()
    inbox.expect(left)
    assert len(inbox) == 0
