"""Calls of functions at the sites of one Globus identity, each with its own patience."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from contextvars import Context
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import structlog

from resource_server.adapters.deserted import Deserted
from resource_server.adapters.globus_compute.budget import BudgetState
from resource_server.adapters.globus_compute.calls import Call, Lane, TaskResult
from resource_server.adapters.globus_compute.client import ComputeClient
from resource_server.adapters.globus_compute.endpoints import FRESH_FOR_S, Endpoints
from resource_server.adapters.globus_compute.inbox import Inbox
from resource_server.adapters.globus_compute.lanes import Lanes
from resource_server.adapters.globus_compute.payload import Payload
from resource_server.adapters.globus_compute.recovery import Recovery
from resource_server.adapters.globus_compute.results import Link, ResultStream
from resource_server.adapters.globus_compute.submitter import Submitter
from resource_server.adapters.globus_compute.task_errors import about_task, not_set_up
from resource_server.domain import errors
from resource_server.domain.catalog import Cluster
from resource_server.services.supervision import forever

log = structlog.get_logger()

#: A caller who has waited so long wants to know whether the endpoint is there at all (seconds).
LOOK_AFTER_S = FRESH_FOR_S
#: At the end of a caller's patience the same question may take so much longer (seconds).
LAST_LOOK_S = 2.0
#: What one identity's calls that wait for their turn may add up to, packed (bytes). It bounds the
#: queue; the memory that requests take, waiting or sent, is bounded by `bodies`.
WAITING_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A result and where its time went: waiting for a turn, and away (seconds)."""

    result: TaskResult
    queue_s: float
    away_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelHealth:
    """How one identity's channel fares, without asking anybody.

    `queued` calls wait for a submission, `running` ones for a result. `trouble` says why the last
    submission failed, and is empty after one that did not.
    """

    client: str
    link: Link
    queued: int
    running: int
    trouble: str
    budgets: tuple[BudgetState, ...] = ()


class TaskChannel:
    """Submits calls together, and gives each caller its own result, timeout and error."""

    def __init__(self, client: ComputeClient, *, look_after_s: float = LOOK_AFTER_S) -> None:
        self._client = client
        self._look_after_s = look_after_s
        self._lanes = Lanes()
        self._inbox = Inbox()
        self._stream = ResultStream(client, self._inbox)
        self._submitter = Submitter(client, self._lanes, self._inbox, self._stream)
        self._recovery = Recovery(client, self._inbox, self._stream)
        self._endpoints = Endpoints(client)
        self._calls: set[Call] = set()
        self._deserted = Deserted()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self._client)
        self._stack.push_async_callback(self._endpoints.close)
        self._stack.push_async_callback(self._stream.close)
        for worker in (self._submitter, self._stream, self._recovery):
            name = type(worker).__name__
            # Its log lines must not name the request that happened to open the channel.
            loop = asyncio.create_task(
                forever(name, worker.run_once), name=f"globus-{name}", context=Context()
            )
            self._stack.push_async_callback(_stop, loop)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._deserted.close()
        await self._stack.aclose()
        for call in self._calls:
            stops = errors.BackendUnavailable("The gateway stops. Try again in a moment.")
            call.fail(about_task(stops, call.task_id) if call.sent else stops)

    @property
    def health(self) -> ChannelHealth:
        """How the channel fares."""
        return ChannelHealth(
            client=self._client.name,
            link=self._stream.link,
            queued=len(self._lanes),
            running=len(self._inbox),
            trouble=self._submitter.trouble,
            budgets=self._client.budgets(),
        )

    async def call(  # noqa: PLR0913 # by keyword; each is one thing that a caller may want
        self,
        cluster: Cluster,
        function: str,
        payload: Payload,
        *,
        deadline: float,
        wary: bool = False,
        late: Callable[[Finished | None], None] | None = None,
        watch: Callable[[Call], None] | None = None,
    ) -> Finished:
        """Return what a site's function said before `deadline` (the event loop's clock).

        Raises `BackendUnavailable` or `BackendTimeout`. `wary` asks whether the endpoint is there
        before anything is sent to it. A caller who leaves takes along a call that was not sent;
        `late` is told what becomes of one that was (see `ports.InferenceBackend`). `watch` is given
        the call itself, which knows when it was sent and as which task.
        """
        call = self._admitted(cluster, function, payload, deadline)
        if watch is not None:
            watch(call)
        del payload  # It may be large. The call has it until the service has it.
        self._calls.add(call)
        try:
            if wary:
                await self._look(call, deadline - call.queued_at)
            self._require_endpoint(call, cluster)
            self._lanes.add(call)
            finished = await self._finished(call, cluster)
        except asyncio.CancelledError:
            call.deserted = True
            if late is not None and call.sent:
                self._deserted.start(self._wait_for_nobody(call, cluster, late))
            else:
                self._leave(call)
                if late is not None:
                    late(None)
            raise
        except BaseException:
            self._leave(call)
            raise
        self._leave(call)
        return finished

    async def _finished(self, call: Call, cluster: Cluster) -> Finished:
        result = await self._result(call, cluster)
        now = asyncio.get_running_loop().time()
        sent = call.submitted_at or now
        return Finished(result=result, queue_s=sent - call.queued_at, away_s=now - sent)

    async def _wait_for_nobody(
        self, call: Call, cluster: Cluster, late: Callable[[Finished | None], None]
    ) -> None:
        """See a call through whose caller has left, so that what it cost is known."""
        finished = None
        try:
            finished = await self._finished(call, cluster)
        except errors.UpstreamError as error:
            log.info("deserted_call_failed", task_id=call.task_id, reason=error.message)
        finally:
            self._leave(call)
            late(finished)

    def _admitted(self, cluster: Cluster, function: str, payload: Payload, deadline: float) -> Call:
        target = cluster.globus_compute
        if target is None:
            raise not_set_up(cluster, "globus_target_invalid", "it has no endpoint")
        try:
            lane = Lane.of(str(UUID(target.endpoint_id)), target.user_endpoint_config)
            function_id = str(UUID(target.functions[function]))
        except (KeyError, ValueError, TypeError) as error:
            raise not_set_up(cluster, "globus_target_invalid", repr(error)) from error
        if self._lanes.size + payload.size > WAITING_BYTES:
            raise errors.BackendUnavailable(
                f"Too many requests wait for the cluster '{cluster.name}'. Try again later."
            )
        return Call(
            lane=lane,
            function_id=function_id,
            argument=payload.argument,
            size=payload.size,
            deadline=deadline,
            queued_at=asyncio.get_running_loop().time(),
            cluster=cluster.name,
        )

    async def _result(self, call: Call, cluster: Cluster) -> TaskResult:
        """Wait for the result, and now and then look if the endpoint is still there."""
        clock = asyncio.get_running_loop().time
        while not call.result.done():
            left = call.deadline - clock()
            if left <= 0:
                await self._look(call, LAST_LOOK_S if call.task_id else 0.0)
                break
            await asyncio.wait({call.result}, timeout=min(self._look_after_s, left))
            if not call.result.done():
                await self._look(call, call.deadline - clock())
            self._require_endpoint(call, cluster)
        if call.result.done():
            return call.result.result()
        self._require_endpoint(call, cluster)
        raise _late(call, cluster)

    async def _look(self, call: Call, seconds: float) -> None:
        look = self._endpoints.look(call.lane.endpoint_id, cluster=call.cluster)
        if look is not None and seconds > 0:
            both: set[asyncio.Future[Any]] = {call.result, look}
            await asyncio.wait(both, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)

    def _require_endpoint(self, call: Call, cluster: Cluster) -> None:
        if not call.result.done() and self._endpoints.offline(call.lane.endpoint_id):
            away = _away(cluster)
            raise about_task(away, call.task_id) if call.sent else away

    def _leave(self, call: Call) -> None:
        """Forget a call, whether it has ended or its caller has gone."""
        self._calls.discard(call)
        self._lanes.discard(call)
        self._inbox.forget(call)
        if not call.result.cancel() and not call.result.cancelled():
            call.result.exception()  # It may have come too late for its caller; that is no fault.


async def _stop(loop: asyncio.Task[None]) -> None:
    loop.cancel()
    await asyncio.wait({loop})


def _away(cluster: Cluster) -> errors.BackendUnavailable:
    return errors.BackendUnavailable(
        f"The cluster '{cluster.name}' is offline: its Globus Compute endpoint does not report. "
        "Try again later, or use another cluster."
    )


def _late(call: Call, cluster: Cluster) -> errors.BackendTimeout:
    waited = f"{call.deadline - call.queued_at:.0f} s"
    if call.submitted_at is None:
        return errors.BackendTimeout(
            f"The request waited {waited} for its turn at Globus Compute and did not reach the "
            f"cluster '{cluster.name}'. Try again later."
        )
    message = (
        f"The cluster '{cluster.name}' did not answer within {waited}. See what it is busy with: "
        f"GET /resource_server/{cluster.name}/jobs. Ask for less at once, or try again later."
    )
    return about_task(errors.BackendTimeout(message), call.task_id)
