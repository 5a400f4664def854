"""Pending lines on their way to the engine and back: as many at a time as it takes."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from batch import answers, errors
from batch.asking import Bounds, Naming, Sent
from batch.company import MOST_LOSSES, Company, is_suspect
from batch.concurrency import MOST, Concurrency
from batch.health import Health
from batch.journal.journal import Journal
from batch.journal.record import Tries
from batch.journal.recorded import Recorded
from batch.judging import Judging
from batch.pending import Changes, PendingLines, Prepared
from batch.retries import LOST, Record, Retry, Stop, Trouble
from batch.transports.transport import Reply, Transport
from batch.waiting import Waiting

#: Lines under way, and the answers that are awaited, have no more bytes than this together, so that
#: memory is flat.
MOST_BYTES = 32 * 1024**2
#: The dispatcher looks again at least this often (seconds).
_LOOK_S = 0.25
#: No line is begun on an older look at whose turn it is (seconds): this process may have been
#: stopped since, and another runner may have recorded what is pending here. A successor takes
#: longer until its first record, and looks come more often.
FRESH_S = 1.0
#: Between two lines that are sent one at a time (seconds): a batch beside callers does not starve.
_MOST_REST_S = 30.0
#: An input token is worth so much of an output token, when throughput is measured.
_INPUT_WORTH = 0.1
#: What an answer's length counts for beside those of the answers before.
_NEWS = 0.1
#: So many lines are noted before they are asked, after a runner that took its own with it: as many
#: as could be under way, and as many again that waited to be asked again.
_NOTED = 2 * MOST
#: Of one in these troubles nothing more is begun until it says that it is ready.
_CLOSING = frozenset({Trouble.LOST, Trouble.MUTE, Trouble.FAULTY, Trouble.DOUBTED})

_log = logging.getLogger(__name__)


class Sending:
    """Sends until no line is pending, or until it is told to stop. Runs once."""

    def __init__(  # noqa: PLR0913 - what it joins
        self,
        *,
        lines: PendingLines,
        transport: Transport,
        journal: Journal,
        naming: Naming,
        changes: Changes,
        concurrency: Concurrency,
        health: Health,
        recorded: Recorded,
        judging: Judging,
        bounds: Bounds,
    ) -> None:
        self._lines = lines
        self._transport = transport
        self._journal = journal
        self._naming = naming
        self._changes = changes
        self._health = health
        self._tries, self._losses = recorded.tries, recorded.losses
        #: The last runner took with it what it had asked: this one notes that before, of the first
        #: lines, for those under way then are among them.
        self._to_note = _NOTED if recorded.died else 0
        #: Lines that were noted, and of which nothing was told since.
        self._noted: set[int] = set()
        self._judging = judging
        self._concurrency = concurrency
        self._bounds = bounds
        self._waiting = Waiting(self._losses)
        self._company = Company()
        self._under_way: set[asyncio.Task[None]] = set()
        self._probe: asyncio.Task[None] | None = None
        self._bytes = 0
        #: How long answers were lately.
        self._answer_bytes = 0.0
        self._wake = asyncio.Event()
        self._closed = asyncio.Event()
        self._stopping = False
        self._rests_until = float("-inf")
        self._failure: BaseException | None = None

    @property
    def under_way(self) -> int:
        """How many lines the engine has."""
        return len(self._under_way)

    @property
    def rises(self) -> bool:
        """Whether it is not known yet how many lines the engine takes, and will be known soon."""
        bounded = self.limit < self._concurrency.limit
        return self._concurrency.rises and not bounded and not self._lines.exhausted

    @property
    def is_held_back(self) -> bool:
        """Whether it is callers who leave less than what the engine takes."""
        return bool(self._bounds.interactive) and self.limit < self._concurrency.limit

    @property
    def limit(self) -> int:
        """How many lines the engine may have now."""
        bound = self._concurrency.bound(self._bounds)
        return int(bound) if bound >= 1 else math.ceil(bound)

    @property
    def trouble(self) -> str:
        """Why nothing is sent, in words; empty while something is."""
        now = time.monotonic()
        if self._health.listens(now):
            doubt = "" if self._under_way else self._judging.doubt
            return doubt and f"the engine at {self._transport.name} {doubt}"
        left = self._health.left_s(now)
        return f"{self._complaint}; tried for {left:.0f} s more"

    @property
    def _complaint(self) -> str:
        return f"the engine at {self._transport.name} {self._judging.complaint}"

    async def look_at_engine(self) -> None:
        """Ask the engine how busy it is, if it tells."""
        load = await self._transport.load() if self._health.open else None
        if load is not None:
            self._concurrency.told(load, time.monotonic())
            self._wake.set()

    def stop(self) -> None:
        """Begin no line any more."""
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Send all that is pending, and return when it is answered; after `stop`, at once."""
        watch = asyncio.create_task(self._watch_health())
        watch.add_done_callback(self._note_failure)
        try:
            while not self._stopping and not self._over():
                if not (self._may_begin() and await self._begin_one()):
                    await self._wait()
                self._raise_failure()
        finally:
            watch.cancel()
            await asyncio.wait({watch})
            await self._lines.close()

    async def drain(self, give_up: Callable[[], bool]) -> None:
        """Wait for the lines under way until it is time to give up; the rest stays pending."""
        while self._under_way and not give_up():
            await asyncio.wait(self._under_way, timeout=_LOOK_S)
        await self.abandon()
        self._raise_failure()

    async def abandon(self) -> None:
        """Hang up on the lines under way; they stay pending."""
        under_way = set(self._under_way)
        for task in under_way:
            task.cancel()
        if under_way:
            await asyncio.wait(under_way)

    def _over(self) -> bool:
        return self._lines.exhausted and not self._waiting and not self._under_way

    def _may_begin(self) -> bool:
        return (
            self._health.open
            and self._is_our_turn()
            and len(self._under_way) < self.limit
            and not self._is_resting()
            and self._bytes + len(self._under_way) * self._answer_bytes < MOST_BYTES
            and not self._journal.crowded
            and not (self._health.probing and self._is_probing)
        )

    @property
    def _is_probing(self) -> bool:
        return self._probe is not None and not self._probe.done()

    def _is_our_turn(self) -> bool:
        """Tell whether it was so a moment ago; who was taken over ends by his next look."""
        return time.monotonic() - self._bounds.looked_at <= FRESH_S

    async def _begin_one(self) -> bool:
        """Begin the next line; says whether there was one to begin now."""
        found = await self._following()
        if found is None or self._stopping:
            return False
        line = self._changes.prepare(*found)
        losses = self._losses.get(line.number, 0)
        if losses >= MOST_LOSSES:
            self._blame(line)
            return True
        if not self._is_our_turn():
            # Reading it took long; it is asked when that is known again.
            self._put_back(line)
            return False
        self._bytes += len(line.body)
        task = asyncio.create_task(self._ask(line, self._company.join(losses)))
        self._under_way.add(task)
        task.add_done_callback(partial(self._ended, losses))
        if self._health.probing:
            self._probe = task
        return True

    async def _following(self) -> tuple[int, bytes] | None:
        """Return the line that is to be begun now, if there is one."""
        if not self._company.admits(0):
            return None
        # Lines that were refused say nothing new of an engine that refuses.
        if self._health.probing and (fresh := await self._lines.any()) is not None:
            return fresh
        if (number := self._waiting.due(time.monotonic())) is not None:
            return await self._lines.again(number)
        return await self._lines.next() or await self._next_suspect()

    async def _next_suspect(self) -> tuple[int, bytes] | None:
        losses = self._waiting.next_suspect(time.monotonic())
        if losses is None or not self._company.admits(losses):
            return None
        return await self._lines.again(self._waiting.suspect())

    async def _ask(self, line: Prepared, place: int) -> None:
        number = line.number
        tries, losses = self._tries.get(number, 0), self._losses.get(number, 0)
        self._concurrency.began(time.monotonic())
        try:
            if self._to_note > 0 or is_suspect(losses):
                self._to_note -= 1
                self._noted.add(number)
                await self._journal.asked(number)
            began = time.monotonic()
            event = await self._event(line, tries + losses)
        except BaseException:
            self._concurrency.failed()
            raise
        finally:
            self._bytes -= len(line.body)
        if event is None:
            self._concurrency.failed()
            self._put_back(line)
            return
        # Whoever ends this runner may have ended its engine, too: then no line is blamed for it.
        single = not self._stopping and self._company.was_alone(place)
        sent = Sent(line=line, began=began, tries=tries, losses=losses, single=single)
        self._settle(sent, event)
        self._rest(began)

    async def _event(self, line: Prepared, before: int) -> Reply | errors.CallFailed | None:
        """Ask a line that was asked so often before; None if it was not asked."""
        if self._stopping or not self._is_our_turn():
            return None  # To note it took long.
        request = self._naming.request(line, before, self._is_our_turn)
        try:
            return await self._transport.ask(request)
        except errors.Withheld:
            return None  # It is asked when it is known again whose turn it is.
        except errors.CallFailed as error:
            return error

    def _put_back(self, line: Prepared) -> None:
        """Have a line wait that was not asked."""
        losses = self._losses.get(line.number, 0)
        self._waiting.put(line.number, due=time.monotonic(), losses=losses)

    def _blame(self, line: Prepared) -> None:
        """Record a line to which earlier runners were lost with their engines: it is not asked."""
        number = line.number
        sent = Sent(line=line, began=0.0, tries=self._tries.get(number, 0), losses=MOST_LOSSES - 1)
        self._judging.blamed(number)
        self._journal.answered(sent.answer(errors.BrokenOff(), answers.NOTHING, LOST))

    def _rest(self, began: float) -> None:
        """Stand back for a while, if one line at a time is more than there may be."""
        bound = self._concurrency.bound(self._bounds)
        if 0 < bound < 1:
            now = time.monotonic()
            self._rests_until = now + min((now - began) * (1 / bound - 1), _MOST_REST_S)

    def _is_resting(self) -> bool:
        """Tell whether it stands back still; when callers are gone there is no need."""
        return time.monotonic() < self._rests_until and self._concurrency.bound(self._bounds) < 1

    def _settle(self, sent: Sent, event: Reply | errors.CallFailed) -> None:
        body = answers.NOTHING
        if isinstance(event, Reply):
            body = answers.read(event.body)
            longer = len(event.body) - self._answer_bytes
            self._answer_bytes += longer * (_NEWS if self._answer_bytes else 1.0)
        decision, happened = self._judging.ended(sent, event, body, now=time.monotonic())
        match decision:
            case Record():
                self._record(sent, event, body, decision)
            case Retry():
                timed_out = isinstance(event, errors.TimedOut)
                self._retry(sent, decision, alive=happened.alive, timed_out=timed_out)
            case Stop(reason=reason):
                self._concurrency.failed()
                self._failure = errors.KeyRefused(reason)

    def _record(
        self,
        sent: Sent,
        event: Reply | errors.CallFailed,
        body: answers.Body,
        decision: Record,
    ) -> None:
        now = time.monotonic()
        problem = decision.problem
        if problem is None:
            use = body.use
            weight = use.output_tokens + _INPUT_WORTH * use.input_tokens
            self._concurrency.answered(now, weight or 1.0, took_s=now - sent.began)
        else:
            self._concurrency.failed()
            problem = body.problem(problem)
        if decision.trouble in _CLOSING:
            self._close(decision.trouble, now)
        self._tries.pop(sent.line.number, None)
        self._losses.pop(sent.line.number, None)
        self._noted.discard(sent.line.number)
        self._journal.answered(sent.answer(event, body, problem))

    def _retry(self, sent: Sent, retry: Retry, *, alive: bool, timed_out: bool) -> None:
        now = time.monotonic()
        number = sent.line.number
        self._concurrency.failed()
        if timed_out or retry.trouble is Trouble.BUSY:
            self._concurrency.cut(began=sent.began, now=now)
        if retry.trouble in _CLOSING or (retry.trouble is Trouble.BUSY and not alive):
            # A busy engine said for how long; one that was lost is asked at once how it is.
            pause_s = retry.after_s if retry.trouble is Trouble.BUSY else 0.0
            self._close(retry.trouble, now, pause_s=pause_s)
        self._count(number, sent, retry)
        self._waiting.put(number, due=now + retry.after_s, losses=retry.losses)

    def _close(self, trouble: Trouble, now: float, *, pause_s: float = 0.0) -> None:
        self._health.troubled(trouble, now=now, pause_s=pause_s)
        self._closed.set()

    def _count(self, number: int, sent: Sent, retry: Retry) -> None:
        """Note what counts against a line now; of one that was to be noted before, in any case."""
        self._tries[number], self._losses[number] = retry.tries, retry.losses
        is_news = (retry.tries, retry.losses) != (sent.tries, sent.losses)
        if is_news or number in self._noted:
            self._noted.discard(number)
            told = Tries(line=number, tries=retry.tries, losses=retry.losses)
            self._journal.tried(told)

    async def _watch_health(self) -> None:
        """While the engine is in trouble, ask it whether it is ready; lose patience one day."""
        while True:
            await self._closed.wait()
            _log.warning("engine_troubled %s", self._health.trouble.value)
            while not self._health.open:
                await self._try_to_open()
            self._closed.clear()
            self._wake.set()

    async def _try_to_open(self) -> None:
        now = time.monotonic()
        left_s, wait_s = self._health.left_s(now), self._health.wait_s(now) or _LOOK_S
        if left_s <= 0:
            self._lose_patience()
        await asyncio.sleep(min(wait_s, left_s) or _LOOK_S)
        if self._health.wait_s(time.monotonic()) <= 0 and await self._transport.ready():
            self._health.ready()
            _log.info("engine_ready %s", self._transport.name)

    def _lose_patience(self) -> None:
        """Give the engine up, unless lines are under way that may yet tell that it works."""
        if not self._health.probing:
            raise errors.EngineGone(self._complaint)
        if not self._under_way:
            raise errors.EngineFaulty(self._complaint)

    async def _wait(self) -> None:
        """Wait until something happened, or it is time to look again."""
        self._wake.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._waiting.wait_s(time.monotonic(), _LOOK_S)):
                await self._wake.wait()

    def _ended(self, losses: int, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._company.leave(losses)
        self._note_failure(task)
        self._wake.set()

    def _note_failure(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self._failure = self._failure or task.exception()
            self._wake.set()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure
