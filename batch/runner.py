"""One runner of a batch: takes its turn, sends what is pending, records it, and ends the batch."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import replace

from batch import beginning, errors
from batch.asking import Bounds, Naming
from batch.assembly import Assembled, Assembly
from batch.beginning import Begun, InputFaulty, Known
from batch.company import asked_alone
from batch.disk_thread import DiskThread
from batch.doubts import Doubts
from batch.health import Health
from batch.job import End, Job
from batch.journal import segment
from batch.journal.journal import Journal
from batch.journal.record import Problem
from batch.journal.segment import SegmentWriter
from batch.judging import Judging
from batch.keeping import beside
from batch.look import Look, News
from batch.outcome import Outcome, Status
from batch.pending import PendingLines
from batch.progress import Progress, Stage
from batch.sending import Sending
from batch.standing import Standing
from batch.transports.transport import Transport

#: How often a runner looks at what it is told, and tells how it gets on (seconds).
LOOK_S = 0.4
PROGRESS_S = 0.8
#: How often the engine is asked how busy it is, how often before that is known, and how often when
#: nothing changes and nobody else asks (seconds): its page of metrics costs it 10 to 20 ms.
ENGINE_LOOK_S, FIRST_LOOK_S, STEADY_LOOK_S = 1.0, 0.2, 4.0
#: And how often while callers leave less than the engine takes: of these one in a hundred would
#: come while it writes that page.
HELD_LOOK_S = 20.0
#: For its last word on a disk that fails, and may hang (seconds). Whoever oversees it knows nothing
#: of it meanwhile.
LAST_WORD_S = 5.0
#: Reading a large input or journal takes its time, and no more than this (seconds).
LONG_S = 6 * 3600.0

_log = logging.getLogger(__name__)


class Runner:
    """Runs once. `tell` gets the progress every second, on the event loop."""

    def __init__(self, job: Job, transport: Transport, *, tell: Callable[[Progress], None]) -> None:
        self._job = job
        self._transport = transport
        self._tell = tell
        self._reads = DiskThread("input")
        self._writes = DiskThread("journal")
        self._looks = DiskThread("looks")
        # Its own: a rename may wait for the journal's sync, and on a look nothing may wait.
        self._tells = DiskThread("progress")
        self._end = End.DONE
        self._end_at = float("inf")
        self._leave_at = float("inf")
        #: Why it is given up, if it is.
        self._given_up = ""
        self._told = asyncio.Event()
        self._leaving = asyncio.Event()
        self._bounds = Bounds()
        #: Its own one comes with its turn; until then it can be told to leave.
        self._standing = Standing(0, None)

    async def run(self) -> Outcome:
        """Return how the batch ended.

        Raises `Left`, `EngineGone`, `DiskFailed`, `InputUnreadable` if it is to be resumed, and
        `TakenOver` if it is another's.
        """
        async with self._reads, self._writes, self._looks, self._tells:
            over = await self._looks.do(self._job.folder.outcome)
            if over is not None:
                return over
            self._standing = await self._looks.do(self._take_turn)
            try:
                return await beside(
                    self._work(),
                    self._oversee(),
                    self._keep_telling(),
                    self._watch_engine(),
                    self._leave_early(),
                )
            except errors.DiskFailed:
                await self._say_that_it_left()
                raise

    def leave(self, within_s: float | None = None) -> None:
        """Begin no line any more, wait a while for those under way, and leave."""
        wait = self._job.drain_s if within_s is None else within_s
        self._leave_at = min(self._leave_at, time.monotonic() + wait)
        self._leaving.set()
        self._stop_sending()

    def _take_turn(self) -> Standing:
        folder = self._job.folder
        folder.make()
        self._epoch = folder.epochs.take(self._job.epoch)
        return Standing(self._epoch, folder.progress())

    async def _leave_early(self) -> None:
        """Leave while there is nothing under way to be awaited: the input is being checked."""
        await self._leaving.wait()
        if self._standing.sending is None:
            raise errors.Left("asked to leave before the first line")
        # The lines under way, and what is left to be written, decide when.
        await asyncio.get_running_loop().create_future()

    async def _say_that_it_left(self) -> None:
        """Have no line be blamed for the end of a runner whose disk failed, if the disk lets it."""
        # Unsaid it costs lines one loss. Of the errors the first one is to be told, also where the
        # host has no room for another thread. One of its own: those that there are may hang.
        with suppress(errors.DiskFailed, errors.TakenOver, RuntimeError):
            async with DiskThread("last word") as disk:
                await disk.do(self._mark_left, within_s=LAST_WORD_S)

    def _mark_left(self) -> None:
        self._require_turn()
        segment.mark_left(self._job.folder.journal, self._epoch)

    def _require_turn(self) -> None:
        self._job.folder.epochs.require(self._epoch)

    async def _work(self) -> Outcome:
        try:
            with ExitStack() as stack:
                begun = await self._begin(stack)
                if not self._job.has_engine:
                    await self._require_end(begun)
                await self._send_pending(begun, stack)
                return await self._finish(begun)
        except InputFaulty as faulty:
            found = faulty.found
            failed = self._standing.outcome(
                Status.FAILED,
                errors=found.errors,
                error_count=found.error_count,
                reason=found.refusal,
            )
            outcome = replace(failed, total=found.total, endpoint=found.endpoint)
        except errors.InputRefused as refused:
            outcome = self._standing.outcome(
                Status.FAILED,
                assembled=await self._assembled_anyway(),
                errors=(refused.error,),
                error_count=1,
                reason=str(refused),
            )
        return await self._put(outcome)

    async def _begin(self, stack: ExitStack) -> Begun:
        job = self._job
        file = await self._reads.do(lambda: beginning.open_input(job.input, job.folder))
        stack.callback(file.close)
        begun = await self._reads.do(
            lambda: beginning.begin(job.folder, self._epoch, file, job.rules), within_s=LONG_S
        )
        self._standing.batch = begun.known
        return begun

    async def _require_end(self, begun: Begun) -> None:
        """Raise `Left` if an engine is needed: some lines are pending, and nobody ends the batch.

        Nothing of that stands in the journal: who comes next is the first, and no line was lost.
        """
        # It may have been cancelled while its input was looked through.
        await self._look()
        if self._end is End.DONE and begun.recorded.count < begun.recorded.total:
            await self._tell_progress()
            raise errors.Left("the input is good; no line was asked, for there is no engine")

    async def _send_pending(self, begun: Begun, stack: ExitStack) -> None:
        """Send until nothing is pending or the end is told; what was answered is recorded."""
        folder = self._job.folder.journal
        writer = await self._writes.do(lambda: SegmentWriter.create(folder, self._epoch))
        stack.callback(writer.close)
        journal = Journal(
            epoch=self._epoch,
            writer=writer,
            recorded=begun.recorded,
            disk=self._writes,
            may_write=self._require_turn,
        )
        await journal.seal(begun.known.seal)
        async with asyncio.timeout(LONG_S):
            await self._told.wait()
        try:
            await beside(self._send(self._new_sending(begun, journal)), journal.keep_flushing())
        except (errors.EngineGone, errors.InputRefused, errors.InputUnreadable) as error:
            await journal.leave()
            if isinstance(error, errors.EngineFaulty):
                # Who resumes it elsewhere gives up one day, and says why.
                self._standing.refusal = str(error)
                await self._tell_progress()
            raise
        await journal.leave()

    async def _send(self, sending: Sending) -> None:
        self._standing.sending = sending
        self._standing.working()
        try:
            if self._ending:
                self._stop_sending()
            await sending.run()
            await sending.drain(self._drained)
        finally:
            await sending.abandon()
            self._standing.rested()

    def _new_sending(self, begun: Begun, journal: Journal) -> Sending:
        manifest, recorded = begun.manifest, begun.recorded
        health = Health(patience_s=self._job.patience_s)
        doubts = Doubts(
            pending=recorded.total - recorded.count,
            completed=recorded.completed,
            suspects=asked_alone(recorded.losses),
        )
        return Sending(
            lines=PendingLines(
                file=begun.file, index=begun.index, recorded=recorded, disk=self._reads
            ),
            transport=self._transport,
            journal=journal,
            naming=Naming(path=manifest.endpoint, seed=manifest.seed, epoch=self._epoch),
            changes=self._job.changes.at(manifest.endpoint),
            concurrency=self._job.new_concurrency(),
            health=health,
            recorded=recorded,
            judging=Judging(health, doubts),
            bounds=self._bounds,
        )

    async def _finish(self, begun: Begun) -> Outcome:
        """End the batch, if this is its end."""
        recorded = begun.recorded
        whole = recorded.count == recorded.total
        if not whole and self._leaving.is_set():
            # Who resumes it elsewhere, and who watches, knows of the last lines.
            await self._tell_progress()
            raise errors.Left("asked to leave before the end")
        await self._reads.do(begun.file.require_unchanged)
        end = End.DONE if whole else self._end
        problem = end.value.problem
        if end is End.GIVEN_UP and problem is not None:
            problem = replace(problem, message=f"{problem.message} {self._given_up}")
        assembled = await self._assembled(begun.known, problem, self._custom_ids(begun))
        outcome = self._standing.outcome(end.value.status, assembled=assembled)
        if end is End.GIVEN_UP:
            failed = outcome.total - outcome.completed
            outcome = replace(outcome, failed=failed, reason=self._given_up)
        return await self._put(outcome)

    def _custom_ids(self, begun: Begun) -> Callable[[int], str]:
        """Return what says how a line of the input is called."""

        def custom_id_of(number: int) -> str:
            content = begun.file.line_at(*begun.index.place(number))
            return self._job.changes.prepare(number, content).custom_id

        return custom_id_of

    async def _assembled(
        self, known: Known, unfinished: Problem | None, custom_id_of: Callable[[int], str]
    ) -> Assembled:
        self._standing.stage = Stage.FINALIZING
        assembly = Assembly(
            folder=self._job.folder,
            epoch=self._epoch,
            manifest=known.manifest,
            recorded=known.recorded,
            custom_id_of=custom_id_of,
            unfinished=unfinished,
            may_write=self._require_turn,
        )
        return await self._writes.do(assembly.write, within_s=LONG_S)

    async def _assembled_anyway(self) -> Assembled:
        """Write what is recorded of a batch whose input is not what it was."""
        known = self._standing.batch = self._standing.batch or await self._reads.do(
            self._known, within_s=LONG_S
        )
        if known is None:
            return Assembled(output=None, error_file=None)
        return await self._assembled(known, None, str)

    def _known(self) -> Known | None:
        manifest = self._job.folder.manifest()
        if manifest is None:
            return None
        return beginning.know(self._job.folder, self._epoch, manifest)

    async def _put(self, outcome: Outcome) -> Outcome:
        await self._tell_progress()
        await self._writes.do(lambda: self._put_once(outcome))
        # Where progress is written, which goes on until the end.
        await self._tells.do(self._job.folder.remove_drafts)
        _log.info("batch_over status=%s completed=%d", outcome.status, outcome.completed)
        return outcome

    def _put_once(self, outcome: Outcome) -> None:
        self._require_turn()
        if not self._job.folder.put_outcome(outcome):
            raise errors.TakenOver(self._epoch, self._epoch)

    async def _oversee(self) -> None:
        """Look at what this runner is told, again and again."""
        while True:
            await self._look()
            await asyncio.sleep(LOOK_S)

    async def _look(self) -> None:
        look = Look(folder=self._job.folder, epoch=self._epoch, load=self._job.load)
        began = time.monotonic()
        self._heed(await self._looks.do(look.take))
        self._bounds.looked_at = began

    async def _keep_telling(self) -> None:
        """Tell how it gets on, again and again."""
        while True:
            await self._tell_progress()
            await asyncio.sleep(PROGRESS_S)

    def _heed(self, news: News) -> None:
        control = news.control
        self._bounds.share = control.share
        self._bounds.most = control.concurrency
        self._bounds.interactive = news.load.interactive
        self._bounds.allowance = news.load.allowance
        if control.cancel:
            self._end_with(End.CANCELLED)
        elif control.expired(time.time()):
            self._end_with(End.EXPIRED)
        elif control.given_up:
            self._given_up = control.given_up
            self._end_with(End.GIVEN_UP)
        self._told.set()

    def _end_with(self, end: End) -> None:
        if self._end is End.DONE:
            self._end, self._end_at = end, time.monotonic()
            self._stop_sending()

    @property
    def _ending(self) -> bool:
        return self._end is not End.DONE or self._leaving.is_set()

    def _drained(self) -> bool:
        """Whether lines under way were awaited for long enough."""
        now = time.monotonic()
        return now >= self._leave_at or now >= self._end_at + self._job.drain_s

    def _stop_sending(self) -> None:
        sending = self._standing.sending
        if sending is not None and self._standing.stage is Stage.RUNNING:
            self._standing.stage = Stage.DRAINING
            sending.stop()

    async def _watch_engine(self) -> None:
        """Ask the engine how busy it is, again and again: not beside what may not be late."""
        wait_s, looked_at = FIRST_LOOK_S, float("-inf")
        while True:
            sending = self._standing.sending
            is_fresh = time.monotonic() - looked_at < HELD_LOOK_S
            if sending is not None and sending.is_held_back and is_fresh:
                wait_s = FIRST_LOOK_S
            elif sending is not None and self._standing.stage is Stage.RUNNING:
                before = sending.limit
                await sending.look_at_engine()
                steady = sending.limit == before and not self._bounds.interactive
                wait_s = next_look_s(wait_s, rises=sending.rises, steady=steady)
                looked_at = time.monotonic()
            await asyncio.sleep(wait_s)

    async def _tell_progress(self) -> None:
        progress = self._standing.progress()
        await self._tells.do(lambda: self._put_progress(progress))
        self._tell(progress)

    def _put_progress(self, progress: Progress) -> None:
        self._require_turn()
        self._job.folder.put_progress(progress.to_wire())


def next_look_s(last_s: float, *, rises: bool, steady: bool) -> float:
    """Return when to ask the engine again, after the pause before the last time."""
    if rises:
        return FIRST_LOOK_S
    return min(max(2 * last_s, ENGINE_LOOK_S), STEADY_LOOK_S) if steady else ENGINE_LOOK_S
