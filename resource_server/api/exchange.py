"""One HTTP request from its arrival to its line in the log, and what the client does meanwhile."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from types import TracebackType
from typing import Any, Literal, Self

import structlog
from django.core.exceptions import RequestAborted

from resource_server.api.refusals import BodyStalled
from resource_server.api.request_log import RequestLog
from resource_server.ports import ObservedRequest, RequestObserver

Message = Mapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

#: The client's presence is watched after this many seconds: most requests never pay for it.
WATCH_AFTER_S = 0.25
#: What the log says of a request whose client did not wait for its answer (nginx's number).
CLIENT_GONE = 499
#: What the log says of a request that failed after its answer had begun.
BROKEN_OFF = 500
#: What the log says of a request that the server's stop cut short.
SERVER_STOPPED = 503


class Exchange:
    """One request and its answer, served by the current task inside a `with` block.

    Once the body is read, the task is cancelled when the client leaves; it is cancelled at any
    time when the client neither sends nor reads for `stall_timeout_s`. The block keeps such a
    cancellation to itself. At its end it writes the event `http_request` to the log, with the
    fields that the route put into `log_fields`, and tells `observer` the same.
    """

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        stall_timeout_s: float,
        log: RequestLog,
        observer: RequestObserver | None = None,
    ) -> None:
        self.scope = scope
        self.request_id = f"req_{os.urandom(12).hex()}"
        self.log_fields: dict[str, object] = {}
        self.received_at = time.perf_counter()
        self.started = False
        #: The request as the observer follows it.
        self.observed: ObservedRequest | None = None
        self._observer = observer
        self._receive = receive
        self._send = send
        self._stall_timeout_s = stall_timeout_s
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task(self._loop)
        self._status = 0
        self._bytes_sent = 0
        self._body_read = False
        self._answered = False
        self._gone: Literal["left", "stalled"] | None = None
        self._cancelled = False
        self._waiting_since: float | None = None
        self._watcher: asyncio.Task[None] | None = None

    def __enter__(self) -> Self:
        # A connection's next request may begin in a copy of this one's context: clear it first.
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=self.request_id)
        self._begin_observation()
        first_look_s = min(WATCH_AFTER_S, self._stall_timeout_s)
        self._timer = self._loop.call_later(first_look_s, self._look)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()
        cancelled = isinstance(error, asyncio.CancelledError)
        forgiven = self._forgive() and cancelled
        self._write_line(self._outcome(error))
        return forgiven

    def _begin_observation(self) -> None:
        if self._observer is None:
            return
        self.observed = self._observer.begin(self.scope["headers"])
        if self.observed.trace_id is not None:
            self.log_fields["trace_id"] = self.observed.trace_id

    @property
    def client_gone(self) -> bool:
        """Whether nobody waits for the answer any more."""
        return self._gone is not None

    async def receive(self) -> Message:
        """Return the next part of the body.

        Raises `RequestAborted` if the client left, and `BodyStalled` if it sent nothing for too
        long.
        """
        self._waiting_since = self._loop.time()
        try:
            message = await self._receive()
        except asyncio.CancelledError:
            if not self._forgive():
                raise
            self._gone = None
            raise BodyStalled from None
        finally:
            self._waiting_since = None
        if message["type"] == "http.disconnect":
            self._gone = "left"
            raise RequestAborted
        self._body_read = not message.get("more_body", False)
        return message

    async def start(self, status: int, headers: Headers) -> None:
        """Send the answer's status and headers."""
        self.started = True
        self._status = status
        await self._forward({"type": "http.response.start", "status": status, "headers": headers})

    async def write(self, body: bytes, *, more: bool) -> None:
        """Send a part of the answer's body; returns when the connection takes the next one."""
        self._bytes_sent += len(body)
        self._answered = not more
        await self._forward({"type": "http.response.body", "body": body, "more_body": more})

    async def _forward(self, message: Message) -> None:
        self._waiting_since = self._loop.time()
        try:
            await self._send(message)
        finally:
            self._waiting_since = None

    def _look(self) -> None:
        """Watch for the client's leaving, and give it up if it has stalled."""
        if self._body_read and self._watcher is None:
            self._watcher = self._loop.create_task(self._watch(), name=f"watch {self.request_id}")
        now = self._loop.time()
        due = (self._waiting_since or now) + self._stall_timeout_s
        if due <= now:
            self._give_up("stalled")
            return
        next_look = due if self._watcher is not None else min(due, now + WATCH_AFTER_S)
        self._timer = self._loop.call_at(next_look, self._look)

    async def _watch(self) -> None:
        """Wait for the message that says that the client left; after the body no other comes."""
        message = await self._receive()
        # A server says the same of a client that has its whole answer.
        if message["type"] == "http.disconnect" and not self._answered:
            self._give_up("left")

    def _give_up(self, reason: Literal["left", "stalled"]) -> None:
        if self._task is not None and not self._cancelled:
            self._gone = reason
            self._cancelled = True
            self._task.cancel()

    def _forgive(self) -> bool:
        """Take back our own cancellation of the task; tell whether it was the only one."""
        if self._task is None or not self._cancelled:
            return False
        self._cancelled = False
        return self._task.uncancel() == 0

    def _outcome(self, error: BaseException | None) -> int:
        """Return the status for the log: what was sent, or why that was not all."""
        if self._gone is not None:
            return CLIENT_GONE
        if isinstance(error, asyncio.CancelledError):
            return SERVER_STOPPED
        return self._status if error is None else BROKEN_OFF

    def _write_line(self, status: int) -> None:
        fields: dict[str, object] = {
            "method": self.scope["method"],
            "path": self.scope["path"],
            "status": status,
            "duration_ms": round((time.perf_counter() - self.received_at) * 1000, 3),
            "bytes_out": self._bytes_sent,
            "request_id": self.request_id,
        }
        if self._gone is not None:
            fields["client"] = self._gone
        record = self.log_fields | fields
        self._log.write("http_request", record)
        if self.observed is not None:
            self.observed.end(record)
