"""Inputs on their way to a site and results on their way back, in pieces, a turn at a time."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum

from compute_functions.contract.batches import MOST_PIECE, BatchFile, FileSum
from resource_server.batch_ports import StoredBytes
from resource_server.domain import batch_progress, errors
from resource_server.domain.batches import Batch, Stage
from resource_server.domain.files import Purpose, StoredFile, output_file_id
from resource_server.services.batch_duties.ledger import Ledger
from resource_server.services.batch_duties.site_batches import SiteBatches

log = logging.getLogger(__name__)

#: In one turn so many pieces of a file travel; then it is another batch's turn.
PIECES_A_TURN = 16
#: So often an input is sent that the site refuses.
MOST_TRIES = 3


class Turn(StrEnum):
    """How a turn ended."""

    #: There is more to carry.
    GOES_ON = "goes_on"
    #: All is carried, and the site or somebody else has the next word.
    OVER = "over"
    HELD_UP = "held_up"


class Carry:
    """Carries one cluster's files. Where it stopped, or another controller did, it goes on.

    How far a file is, its bytes tell: those at the site, or those on our disk.
    """

    def __init__(
        self,
        ledger: Ledger,
        disk: StoredBytes,
        *,
        clock: Callable[[], float],
        most_result_bytes: int,
    ) -> None:
        self._ledger = ledger
        self._disk = disk
        self._clock = clock
        self._most_result_bytes = most_result_bytes
        #: How far inputs were at the end of their last turn: what reports say of it is older.
        self._sent: dict[str, int] = {}
        self._refusals: Counter[str] = Counter()

    async def turn(self, site: SiteBatches, batch: Batch) -> Turn:
        """Carry some pieces of a batch's files. Raises `DatabaseUnavailable`."""
        try:
            return await self._carried(site, batch)
        except errors.DatabaseUnavailable:
            raise
        except errors.UpstreamError as error:
            log.info("batch_held_up", extra={"batch": batch.id, "reason": error.message})
            await self._held_up(batch, error)
            return Turn.HELD_UP

    async def _carried(self, site: SiteBatches, batch: Batch) -> Turn:
        try:
            if batch.stage is Stage.SENDING:
                return await self._send(site, batch)
            return await self._fetch(site, batch)
        except errors.BatchUnknownThere:
            await self._ledger.write(batch, batch_progress.forgotten_by_its_site(batch))
        except errors.BatchRefusedThere as refusal:
            await self._refused(batch, refusal)
            return Turn.HELD_UP
        except errors.BatchNotNow as refusal:
            await self._wait(batch, refusal.message)
            return Turn.HELD_UP
        return Turn.OVER

    async def _wait(self, batch: Batch, reason: str) -> None:
        now = self._clock()
        await self._ledger.write(batch, batch_progress.kept_waiting(batch, reason, now=now))

    async def _held_up(self, batch: Batch, error: errors.UpstreamError) -> None:
        """Write down why a batch's files do not come on."""
        full = isinstance(error, errors.FilesUnavailable)
        await self._wait(batch, batch_progress.NO_FILES if full else batch_progress.UNREACHABLE)

    async def _send(self, site: SiteBatches, batch: Batch) -> Turn:
        upload, file_id = batch.order.upload, batch.input_file_id
        if upload is None or file_id is None:
            raise errors.BatchRefusedThere("The site waits for an input that is its own.")
        received = batch.report.received if batch.report else 0
        offset = self._sent.pop(batch.id, received)
        for _ in range(PIECES_A_TURN):
            content = await self._disk.piece(file_id, offset, MOST_PIECE)
            if not content and offset < upload.bytes:
                raise errors.FilesUnavailable("The input on our disk is cut off.")
            self._ledger.require()
            has = await site.put(batch.id, offset, content)
            if has >= upload.bytes:
                return Turn.OVER
            if has <= offset:
                # It has lost some, or took all of it, and their sum was not right.
                raise errors.BackendUnavailable("The site does not come on with the input.")
            offset = has
        self._sent[batch.id] = offset
        return Turn.GOES_ON

    async def _fetch(self, site: SiteBatches, batch: Batch) -> Turn:
        report = batch.report
        if report is None:
            raise ValueError("nothing was said of what the batch left")
        left = PIECES_A_TURN
        files: dict[BatchFile, StoredFile] = {}
        for kind, expected in (
            (BatchFile.OUTPUT, report.output),
            (BatchFile.ERRORS, report.error_file),
        ):
            if expected is None or expected.bytes > self._most_result_bytes:
                continue
            left = await self._fetch_one(site, batch, kind=kind, expected=expected, most=left)
            if not left:
                return Turn.GOES_ON
            files[kind] = self._file(batch, kind, expected)
        await self._end(batch, files)
        return Turn.OVER

    async def _fetch_one(
        self, site: SiteBatches, batch: Batch, *, kind: BatchFile, expected: FileSum, most: int
    ) -> int:
        """Fetch at most so many pieces; return how many are left, 0 if the file is not whole."""
        file_id = output_file_id(batch.id, kind, expected.sha256)
        offset = await self._disk.arrived(file_id)
        while offset < expected.bytes:
            if not most:
                return 0
            self._ledger.require()
            piece = await site.get(batch.id, kind, offset)
            # What a site sends beyond what it said would fill the disk for a sum that is wrong.
            sound = 0 < len(piece.content) <= expected.bytes - offset
            if piece.size != expected.bytes or not sound:
                raise errors.BackendUnavailable("The site's file is not what it said.")
            await self._disk.put(file_id, offset, piece.content)
            offset += len(piece.content)
            most -= 1
        if not await self._disk.finish(file_id, expected):
            log.warning("batch_result_damaged", extra={"batch": batch.id, "file": kind})
            raise errors.BackendUnavailable("The site's file came damaged; it is fetched anew.")
        return max(most, 1)

    async def _end(self, batch: Batch, files: dict[BatchFile, StoredFile]) -> None:
        output, problems = files.get(BatchFile.OUTPUT), files.get(BatchFile.ERRORS)
        left_there = self._left_there(batch)
        ended = replace(
            batch_progress.ended(batch, now=self._clock(), left_there=left_there),
            output_file_id=output.id if output else None,
            error_file_id=problems.id if problems else None,
        )
        await self._ledger.write(batch, ended, tuple(files.values()))

    def _left_there(self, batch: Batch) -> str:
        """Return what is said of results that are too large."""
        if batch.report is None:
            return ""
        said = batch_progress.left_there(
            batch.report, most_bytes=self._most_result_bytes, now=self._clock()
        )
        if said:
            log.warning("batch_result_too_large", extra={"batch": batch.id, "reason": said})
        return said

    async def _refused(self, batch: Batch, refusal: errors.BatchRefusedThere) -> None:
        """Try again what the site refuses a piece of, and end it if it goes on to.

        An input may have come damaged; of results, the site is asked again how they are.
        """
        if batch.stage is Stage.FETCHING:
            again = replace(batch, stage=Stage.THERE, waits=refusal.message)
            await self._ledger.write(batch, again)
            return
        self._refusals[batch.id] += 1
        if self._refusals[batch.id] < MOST_TRIES:
            await self._wait(batch, refusal.message)
            return
        del self._refusals[batch.id]
        after = batch_progress.refused(batch, refusal.message, now=self._clock())
        await self._ledger.write(batch, after)

    def _file(self, batch: Batch, kind: BatchFile, expected: FileSum) -> StoredFile:
        now = self._clock()
        return StoredFile(
            id=output_file_id(batch.id, kind, expected.sha256),
            owner=batch.owner,
            filename=f"{batch.id}_{kind}.jsonl",
            purpose=Purpose.BATCH_OUTPUT,
            bytes=expected.bytes,
            sha256=expected.sha256,
            created_at=now,
            expires_at=None if batch.keep_s is None else now + batch.keep_s,
        )
