"""Streams by task: the function at the site pushes the engine's answer to this hub."""

from __future__ import annotations

import asyncio
from typing import Any

import structlog

from compute_functions.contract.pushes import Push
from resource_server.adapters.globus_compute import replies
from resource_server.adapters.globus_compute.calls import Call
from resource_server.adapters.globus_compute.channel import Finished
from resource_server.adapters.globus_compute.channels import Channels
from resource_server.adapters.globus_compute.engine_requests import engine_request
from resource_server.adapters.globus_compute.payload import pack_request
from resource_server.adapters.globus_compute.task_errors import about_task
from resource_server.adapters.globus_compute.task_stream import TaskStream
from resource_server.adapters.pushed_streams import PushedStream, PushedStreams
from resource_server.adapters.whole_streams import WholeStream
from resource_server.domain import errors
from resource_server.domain.catalog import Cluster
from resource_server.domain.inference import InferenceRequest

log = structlog.get_logger()

#: A site that could not reach this hub is not asked to push for so long (seconds).
CANNOT_FOR_S = 300.0


class Pushing:
    """Asks sites to push, and knows which of them lately could not."""

    def __init__(self, channels: Channels, streams: PushedStreams) -> None:
        self._channels = channels
        self._streams = streams
        #: Until when a cluster is not asked (the event loop's clock).
        self._cannot_until: dict[str, float] = {}

    def is_possible(self, cluster: Cluster) -> bool:
        """Tell whether a cluster's site may and can push, as far as known."""
        target = cluster.globus_compute
        if target is None or not target.push:
            return False
        return asyncio.get_running_loop().time() >= self._cannot_until.get(cluster.name, 0.0)

    async def open(
        self, cluster: Cluster, request: InferenceRequest, *, deadline: float
    ) -> TaskStream | WholeStream | None:
        """Return the answer as soon as its head is there, or raise what the port says.

        None if the site could not push: then nothing has run.
        """
        # The site judges an engine's silence, as a relay does.
        stream, push = self._streams.expect(cluster.name, silence_s=cluster.request_timeout_s)
        opened = None
        try:
            opened = await self._opened(stream, push, cluster, request, deadline=deadline)
        finally:
            if not isinstance(opened, TaskStream):
                await stream.aclose()
        if opened is None:
            until = asyncio.get_running_loop().time() + CANNOT_FOR_S
            self._cannot_until[cluster.name] = until
        return opened

    async def _opened(
        self,
        stream: PushedStream,
        push: Push,
        cluster: Cluster,
        request: InferenceRequest,
        *,
        deadline: float,
    ) -> TaskStream | WholeStream | None:
        """Wait for the head or the task's result, whichever comes first."""
        channel = await self._channels.of(cluster)
        payload = await pack_request(engine_request(request, push))
        calls: list[Call] = []
        task = asyncio.create_task(
            channel.call(cluster, "run_request", payload, deadline=deadline, watch=calls.append),
            name=f"push {request.request_id}",
        )
        both: set[asyncio.Future[Any]] = {stream.began, task}
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if stream.began.done():
                return _begun(stream, calls[0])
            finished = task.result()
            answer = await replies.pushed_answer(cluster, finished)
        except errors.HotnodeError as error:
            if calls and calls[0].sent:
                raise about_task(error, calls[0].task_id) from error.__cause__
            raise
        finally:
            # The head says all that the result would, and what is not sent yet is not sent.
            task.cancel()
            await asyncio.wait({task})
            _look_at(task)
        return None if answer is None else WholeStream.of(answer, request)


def _begun(stream: PushedStream, call: Call) -> TaskStream:
    stream.began.result()  # Or why there will be no head.
    return TaskStream.begun(stream, call)


def _look_at(task: asyncio.Task[Finished]) -> None:
    """Take note of a failure that nobody is left to hear of; else asyncio complains."""
    if not task.cancelled():
        task.exception()
