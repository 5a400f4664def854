"""Who wants what: counted from requests under way and from those that wait, of every process."""

from __future__ import annotations

import asyncio

import pytest

from resource_server.domain import errors
from resource_server.domain.inference import InferenceRequest
from resource_server.domain.lifecycle import Requests
from resource_server.services.changes import ANY, Changes
from resource_server.services.counted_backend import CountedBackend
from resource_server.services.demand import DemandBook, Waiters
from resource_server.services.waiters import WaiterCounts
from tests.support.catalogs import cluster
from tests.support.doubles import BackendThatEchoes
from tests.support.streams import BackendThatStreams

POST = ("vllm", "m")
PLACE = ("local", *POST)
ASKED = InferenceRequest(
    request_id="r", framework="vllm", model="m", path="/v1/completions", body=b"{}", timeout_s=9
)


class JumpingClock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def jump(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> JumpingClock:
    return JumpingClock()


@pytest.fixture
def book(clock: JumpingClock) -> DemandBook:
    return DemandBook(Changes(), clock=clock)


def demand(book: DemandBook, otherwise: float | None = None):
    (one,) = book.for_site("local", {POST: otherwise})
    return one.waiting, one.running, one.used_s


class TestCounts:
    def test_nobody_has_ever_wanted_it(self, book: DemandBook):
        assert demand(book) == (0, 0, None)
        assert book.of("local") == ()

    def test_what_runs_is_in_use_and_was_used_then(self, book: DemandBook, clock: JumpingClock):
        book.began(PLACE)
        clock.jump(100)
        assert demand(book) == (0, 1, 0.0)
        book.ended(PLACE)
        clock.jump(30)
        assert demand(book) == (0, 0, 30.0)

    def test_what_no_instance_took_was_no_use(self, book: DemandBook):
        book.began(PLACE)
        book.ended(PLACE, used=False)
        assert demand(book) == (0, 0, None)

    def test_processes_add_up_and_one_that_is_gone_does_not_count(self, book: DemandBook):
        book.tell("a", {PLACE: Waiters(waiting=2, asked=2)})
        book.tell("b", {PLACE: Waiters(waiting=3, asked=3)})
        assert demand(book)[0] == 5
        book.tell("a", {PLACE: Waiters(waiting=1, asked=2)})
        book.forget("b")
        assert demand(book)[0] == 1
        assert book.of("local") == (Requests(framework="vllm", model="m", waiting=1),)

    def test_who_asked_and_did_not_wait_is_a_use(self, book: DemandBook, clock: JumpingClock):
        book.tell("a", {PLACE: Waiters(waiting=0, asked=1)})
        clock.jump(7)
        assert demand(book) == (0, 0, 7.0)
        book.tell("a", {PLACE: Waiters(waiting=0, asked=1)})
        assert demand(book) == (0, 0, 7.0)

    def test_an_operators_load_is_a_use_unless_there_was_a_later_one(
        self, book: DemandBook, clock: JumpingClock
    ):
        assert demand(book, 12.0) == (0, 0, 12.0)
        book.began(PLACE)
        book.ended(PLACE)
        clock.jump(3)
        assert demand(book, 12.0) == (0, 0, 3.0)

    def test_only_beginnings_and_ends_are_noted(self, book: DemandBook):
        def number() -> int:
            return book.changes.number("local")

        book.tell("a", {PLACE: Waiters(waiting=1, asked=1)})
        assert number() == 1
        book.tell("a", {PLACE: Waiters(waiting=2, asked=2)})
        assert number() == 1
        book.tell("a", {PLACE: Waiters(waiting=0, asked=2)})
        assert number() == 2
        book.began(PLACE)
        book.began(PLACE)
        book.ended(PLACE)
        assert number() == 3
        book.ended(PLACE)
        assert number() == 4


class TestBackend:
    async def test_an_answer_counts_while_it_is_awaited(self, book: DemandBook):
        counted = CountedBackend(BackendThatEchoes(), book)
        await counted.infer(cluster(), ASKED)
        assert demand(book) == (0, 0, 0.0)

    @pytest.mark.parametrize(
        ("error", "used"), [(errors.ModelNotRunning(), None), (errors.BackendTimeout(), 0.0)]
    )
    async def test_a_failure_ends_it_too(self, book: DemandBook, error, used):
        backend = BackendThatEchoes()
        backend.error = error
        with pytest.raises(type(error)):
            await CountedBackend(backend, book).infer(cluster(), ASKED)
        assert demand(book) == (0, 0, used)

    @pytest.mark.parametrize(
        "error", [errors.ModelNotRunning(), errors.StreamComesWhole()], ids=lambda e: e.code
    )
    async def test_a_stream_that_nobody_began_is_no_use(self, book: DemandBook, error):
        """What comes in one piece is asked for by `infer`, which counts it."""
        backend = BackendThatStreams()
        backend.error = error
        with pytest.raises(type(error)):
            await CountedBackend(backend, book).stream(cluster(), ASKED)
        assert demand(book) == (0, 0, None)

    async def test_a_stream_counts_until_it_is_closed(self, book: DemandBook):
        backend = BackendThatStreams(b"data: 1\n\n", b"data: [DONE]\n\n")
        stream = await CountedBackend(backend, book).stream(cluster(), ASKED)
        assert stream.head is backend.streams[0].head
        assert stream.hops is backend.streams[0].hops
        assert [part async for part in stream] == [b"data: 1\n\n", b"data: [DONE]\n\n"]
        assert demand(book)[1] == 1
        for _ in range(2):
            await stream.aclose()
            assert demand(book)[1] == 0
        assert backend.streams[0].closed.is_set()


class TestWaiterCounts:
    def test_each_change_is_told(self):
        told: list[dict[tuple[str, str, str], Waiters]] = []
        counts = WaiterCounts(lambda now: told.append(dict(now)))
        with counts.waiting(PLACE), counts.waiting(PLACE):
            pass
        assert [(one[PLACE].waiting, one[PLACE].asked) for one in told] == [
            (1, 1),
            (2, 2),
            (1, 2),
            (0, 2),
        ]

    def test_who_begins_anew_tells_only_of_those_who_still_wait(self):
        counts = WaiterCounts(lambda _: None)
        with counts.waiting(("other", *POST)):
            pass
        with counts.waiting(PLACE):
            counts.begin_anew()
            assert counts.counts == {PLACE: Waiters(waiting=1, asked=1)}


class TestChanges:
    async def test_who_waits_for_several_is_woken_by_one(self):
        changes = Changes()
        waiting = asyncio.create_task(changes.after({"a": 0, "b": 0}, within_s=20))
        await asyncio.sleep(0)
        changes.note("b")
        assert await waiting
        assert (changes.number("a"), changes.number("b"), changes.number(ANY)) == (0, 1, 1)

    async def test_what_has_changed_already_is_not_waited_for(self):
        changes = Changes()
        changes.note("a")
        assert await changes.after({"a": 0}, within_s=0)
        assert not await changes.after({"a": 1}, within_s=0)

    async def test_who_waits_for_any_is_woken_by_each(self):
        changes = Changes()
        waiting = asyncio.create_task(changes.after({ANY: 0}, within_s=20))
        await asyncio.sleep(0)
        changes.note("a")
        assert await waiting
