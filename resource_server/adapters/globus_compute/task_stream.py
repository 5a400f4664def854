"""A pushed answer as its caller sees it: with its task, and where the time went."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from resource_server.adapters import engine_heads
from resource_server.adapters.globus_compute.calls import Call
from resource_server.adapters.globus_compute.task_errors import about_task
from resource_server.adapters.pushed_streams import PushedStream
from resource_server.domain import errors
from resource_server.domain.catalog import Transport
from resource_server.domain.inference import Hops, StreamHead


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskStream:
    """A `ports.AnswerStream` of an answer that has begun."""

    pushed: PushedStream
    call: Call
    head: StreamHead

    @classmethod
    def begun(cls, pushed: PushedStream, call: Call) -> Self:
        """Return the stream of a pushed answer whose head is there."""
        said = pushed.began.result()
        head = StreamHead(
            status=said.status,
            content_type=engine_heads.content_type(said.headers),
            transport=Transport.TASK.value,
            headers=engine_heads.passed_on(said.headers),
            task_id=call.task_id,
        )
        return cls(pushed=pushed, call=call, head=head)

    @property
    def hops(self) -> Hops:
        """Where the time went; of site and engine nothing is known before the end."""
        call, end = self.call, self.pushed.end
        sent = call.submitted_at or call.queued_at
        queue_s = max(0.0, sent - call.queued_at)
        if end is None:
            return Hops(queue_s=queue_s)
        site_s, engine_s = max(0.0, end.site_s), max(0.0, end.engine_s)
        return Hops(
            queue_s=queue_s,
            transport_s=max(0.0, self.pushed.ended_at - sent - site_s),
            site_s=max(0.0, site_s - engine_s),
            engine_s=engine_s,
        )

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await self.pushed.__anext__()
        except errors.HotnodeError as error:
            raise about_task(error, self.head.task_id) from error.__cause__

    async def aclose(self) -> None:
        """Have the site hang up on its engine, unless the answer is whole."""
        await self.pushed.aclose()
