"""Sends waiting calls in as few submissions as the identity's budget asks for."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Sequence

import structlog

from compute_functions.contract import JsonObject
from resource_server.adapters.globus_compute.calls import Call, Lane
from resource_server.adapters.globus_compute.client import ComputeClient
from resource_server.adapters.globus_compute.failures import CallFailed, Fate
from resource_server.adapters.globus_compute.inbox import Inbox
from resource_server.adapters.globus_compute.lanes import Batch, Lanes
from resource_server.adapters.globus_compute.results import ResultStream
from resource_server.adapters.globus_compute.service import Receipt, Submission
from resource_server.adapters.globus_compute.task_errors import about_task
from resource_server.domain import errors

log = structlog.get_logger()

#: While Globus cannot be reached, a call is kept for so long (seconds). A restart takes less.
OUTAGE_PATIENCE_S = 30.0
#: Between attempts to reach Globus (seconds).
OUTAGE_PAUSE_S = 2.0
_GONE_OR_NOT_OURS = frozenset({403, 404})


class Submitter:
    """Takes the calls of all endpoints of one identity from its lanes."""

    def __init__(
        self, client: ComputeClient, lanes: Lanes, inbox: Inbox, stream: ResultStream
    ) -> None:
        self._client = client
        self._lanes = lanes
        self._inbox = inbox
        self._stream = stream
        #: Why the last submission failed; empty after one that did not.
        self.trouble = ""

    async def run_once(self) -> None:
        """Wait for a call, then for the right to a submission, and send all that wait by then."""
        await self._lanes.filled()
        async with self._client.submission_turn():
            batch = self._lanes.next_batch(asyncio.get_running_loop().time())
            if batch is not None:
                await self._send(batch)

    async def _send(self, batch: Batch) -> None:
        """Submit a batch; whatever happens, each of its calls has a future afterwards."""
        group = None if any(call.regroup for call in batch.calls) else self._stream.group
        started = asyncio.get_running_loop().time()
        for call in batch.calls:
            call.submitted_at = started
        problem = _UNCONFIRMED
        try:
            with self._inbox.submitting():
                receipt = await self._client.submit(_submission(batch, group, started))
                self._accepted(batch, receipt)
            problem = ""
        except CallFailed as failure:
            problem = self._consequence(batch, group, failure)
        finally:
            if problem:
                _fail(batch.calls, problem)

    def _accepted(self, batch: Batch, receipt: Receipt) -> None:
        self.trouble = ""
        ids = {function_id: iter(task_ids) for function_id, task_ids in receipt.tasks.items()}
        request_ids = _request_ids(batch)
        for call in batch.calls:
            # It cannot be put back any more, so what was sent is not needed.
            call.task_id, call.argument = next(ids[call.function_id]), {}
            self._inbox.expect(call)
        self._stream.use_group(receipt.group)
        log.info(
            "globus_submitted",
            client=self._client.name,
            endpoint=batch.lane.endpoint_id,
            tasks=len(batch.calls),
            bytes=batch.size,
            request_ids=request_ids,
        )

    def _consequence(self, batch: Batch, group: str | None, failure: CallFailed) -> str:
        """Queue the calls again if nothing can have happened, or return what to tell them."""
        self.trouble = str(failure)
        self._log(batch, failure)
        match failure.fate:
            case Fate.THROTTLED:
                self._queue_again(batch.lane, batch.calls)
                return ""
            case Fate.NOT_SENT:
                self._try_again(batch)
                return ""
            case Fate.REFUSED if group is not None and failure.status in _GONE_OR_NOT_OURS:
                # The service may have forgotten the group. Without one it shows who is meant.
                for call in batch.calls:
                    call.regroup = True
                self._queue_again(batch.lane, batch.calls)
                return ""
            case Fate.REFUSED:
                return _REFUSED
            case Fate.UNKNOWN:
                return _UNCONFIRMED

    def _try_again(self, batch: Batch) -> None:
        """Queue the calls again, but for those that have waited for Globus long enough."""
        now = asyncio.get_running_loop().time()
        patient: list[Call] = []
        for call in batch.calls:
            call.failed_at = call.failed_at or now
            if now - call.failed_at < OUTAGE_PATIENCE_S:
                patient.append(call)
            else:
                call.fail(errors.BackendUnavailable(_UNREACHABLE))
        self._queue_again(batch.lane, patient)
        pause = OUTAGE_PAUSE_S * random.uniform(0.5, 1.5)  # noqa: S311 # it spreads attempts
        self._client.pause_submissions(pause)

    def _queue_again(self, lane: Lane, calls: Sequence[Call]) -> None:
        for call in calls:
            call.submitted_at = None
            if call.deserted:
                call.fail(errors.BackendUnavailable(_DESERTED))
        self._lanes.put_back(lane, [call for call in calls if not call.deserted])

    def _log(self, batch: Batch, failure: CallFailed) -> None:
        write = log.error if failure.fate is Fate.REFUSED else log.warning
        write(
            "globus_submission_failed",
            client=self._client.name,
            clusters=sorted({call.cluster for call in batch.calls}),
            endpoint=batch.lane.endpoint_id,
            tasks=len(batch.calls),
            fate=failure.fate,
            reason=str(failure),
            request_ids=_request_ids(batch),
        )


def _submission(batch: Batch, group: str | None, now: float) -> Submission:
    arguments: dict[str, list[JsonObject]] = {}
    for call in batch.calls:
        arguments.setdefault(call.function_id, []).append(call.current_argument(now))
    return Submission(
        endpoint_id=batch.lane.endpoint_id,
        user_endpoint_config=batch.lane.user_endpoint_config,
        arguments=arguments,
        group=group,
    )


def _request_ids(batch: Batch) -> list[str]:
    """Return what the gateway calls the requests of a batch; questions of its own have no name."""
    names = (call.argument.get("request_id") for call in batch.calls)
    return [str(name) for name in names if name]


def _fail(calls: Iterable[Call], problem: str) -> None:
    for call in calls:
        call.argument = {}
        error = errors.BackendUnavailable(problem)
        # What was refused cannot run; of what was not confirmed nobody knows.
        call.fail(error if problem == _REFUSED else about_task(error, call.task_id))


_DESERTED = "The caller left before Globus Compute took the request."
_UNREACHABLE = "Globus Compute cannot be reached. Try again later."
_REFUSED = (
    "Globus Compute refused this cluster's requests. The operators must act; "
    "other clusters may work."
)
_UNCONFIRMED = (
    "Globus Compute did not confirm that it took the request. It may still run, so it was not "
    "sent again; you may send it again."
)
