"""How an agent calls functions: there is an answer in time, whatever the function does."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest

from compute_functions.contract import FailureCode, JsonObject, SiteFailure, site_link
from compute_functions.contract.site_calls import CallAnswer, SiteCall
from compute_functions.site_agent.calls import Calls
from compute_functions.site_agent.functions import Function
from tests.support.eventually import eventually, eventually_so


class FunctionThatHangs:
    """Returns when the test lets it, as on a disk that is away."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self._released = threading.Event()

    def __call__(self, wire: JsonObject) -> JsonObject:
        self.begun.release()
        assert self._released.wait(30)
        return {"late": True}

    def release(self) -> None:
        self._released.set()


@pytest.fixture
def hanging() -> Iterator[FunctionThatHangs]:
    function = FunctionThatHangs()
    yield function
    function.release()


def echo(wire: JsonObject) -> JsonObject:
    return {"echo": wire}


async def answer(calls: Calls, function: str, wire: JsonObject | None = None) -> JsonObject:
    text = await calls.answer(SiteCall(id="a", function=function, wire=wire or {}))
    found = site_link.read(text)
    assert found is not None
    assert isinstance(found[1], CallAnswer)
    assert found[1].id == "a"
    return found[1].wire


async def failure(calls: Calls, function: str) -> FailureCode:
    return SiteFailure.from_wire(await answer(calls, function)).code


def threads() -> list[str]:
    return [one.name for one in threading.enumerate()]


def table(**functions: Function) -> Mapping[str, Function]:
    return functions


async def test_what_a_function_gives_is_the_answer() -> None:
    calls = Calls(table(echo=echo, other=echo))
    assert calls.names == ("echo", "other")
    assert await answer(calls, "echo", {"a": [1]}) == {"echo": {"a": [1]}}


@pytest.mark.parametrize("name", ["os.system", "", "__call__"])
async def test_what_is_not_in_the_table_is_not_called(name: str) -> None:
    assert await failure(Calls(table(echo=echo)), name) is FailureCode.PATH_NOT_ALLOWED


async def test_a_function_that_hangs_is_answered_for_and_keeps_nobody(
    hanging: FunctionThatHangs,
) -> None:
    calls = Calls(table(hang=hanging, echo=echo), most=2, within_s=0.05)
    assert await failure(calls, "hang") is FailureCode.SITE_FAILED
    assert await answer(calls, "echo") == {"echo": {}}


async def test_no_more_threads_hang_than_there_may_be(hanging: FunctionThatHangs) -> None:
    calls = Calls(table(hang=hanging), most=2, within_s=0.05)
    assert await failure(calls, "hang") is FailureCode.SITE_FAILED
    assert await failure(calls, "hang") is FailureCode.SITE_FAILED
    assert await failure(calls, "hang") is FailureCode.BUSY
    assert hanging.begun.acquire(timeout=5)
    assert hanging.begun.acquire(timeout=5)
    assert not hanging.begun.acquire(blocking=False)
    hanging.release()

    async def has_room() -> bool:
        return "late" in await answer(calls, "hang")

    await eventually_so(has_room)


async def test_an_answer_that_is_too_long_for_the_link_is_said_to_be() -> None:
    calls = Calls(table(much=lambda _: {"much": "x" * site_link.MOST_MESSAGE}))
    assert await failure(calls, "much") is FailureCode.RESPONSE_TOO_LARGE


@contextmanager
def no_room_for_threads() -> Iterator[None]:
    """Let no thread start: no host has the memory for such a stack."""
    before = threading.stack_size(2**60)
    try:
        yield
    finally:
        threading.stack_size(before)


async def test_a_host_without_room_for_a_thread_is_busy_until_it_has_some() -> None:
    calls = Calls(table(echo=echo), most=1)
    with no_room_for_threads():
        assert await failure(calls, "echo") is FailureCode.BUSY
    assert await answer(calls, "echo") == {"echo": {}}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_function_with_a_fault_is_answered_for_too() -> None:
    calls = Calls(table(broken=lambda wire: {"not": wire["there"]}, echo=echo), most=1)
    assert await failure(calls, "broken") is FailureCode.SITE_FAILED
    assert await answer(calls, "echo") == {"echo": {}}
    # The fault is told, as the thread ends, a moment after the answer.
    await eventually(lambda: "call broken" not in threads())


async def test_a_thread_that_outlives_the_agent_ends_quietly(hanging: FunctionThatHangs) -> None:
    calls = Calls(table(hang=hanging), within_s=0.01)
    # In a loop of its own, which is closed while the function runs.
    await asyncio.to_thread(asyncio.run, answer(calls, "hang"))
    hanging.release()
    await eventually(lambda: "call hang" not in threads())
