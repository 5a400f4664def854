"""The hub's side: carries the calls of all web processes of a host to one backend."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from resource_server.adapters.hub import messages, wire
from resource_server.adapters.hub.failures import failure_of
from resource_server.adapters.hub.messages import FunctionCall, Outcome, Returned
from resource_server.adapters.hub.socket_file import BACKLOG, listening
from resource_server.adapters.hub.stream_under_way import StreamUnderWay
from resource_server.adapters.hub.under_way import CallUnderWay
from resource_server.adapters.hub.watching import Watches
from resource_server.adapters.site_calls import CallsLater
from resource_server.domain import errors
from resource_server.ports import InferenceBackend, SiteCalls, SiteObserver
from resource_server.services.site_board import SiteBoard

log = structlog.get_logger()

#: How long calls under way may take to finish when the hub is told to stop (seconds).
GRACE_S = 30.0
#: What is read ahead of a large body (bytes).
_READ_AHEAD = 1024 * 1024


class HubServer:
    """Listens at a Unix socket while it is open."""

    def __init__(
        self,
        backend: InferenceBackend,
        sites: SiteObserver,
        path: Path,
        *,
        board: SiteBoard | None = None,
        site_calls: SiteCalls | None = None,
        grace_s: float = GRACE_S,
    ) -> None:
        self._backend = backend
        self._sites = sites
        self._site_calls = site_calls or CallsLater()
        self._path = path
        self._grace_s = grace_s
        self._watches = Watches(board or SiteBoard("hub"))
        self._calls: dict[str, CallUnderWay] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            listener = stack.enter_context(listening(self._path))
            runner = web.AppRunner(
                self._application(),
                access_log=None,
                # A web process that dies takes its calls along, as far as they have not left.
                handler_cancellation=True,
                shutdown_timeout=self._grace_s,
                read_bufsize=_READ_AHEAD,
            )
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.SockSite(runner, listener, backlog=BACKLOG).start()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # New calls are refused at once, so that they are not sent in vain.
        self._path.unlink(missing_ok=True)
        await self._stack.aclose()

    def _application(self) -> web.Application:
        application = web.Application(middlewares=[_refuse_strangers], client_max_size=0)
        application.router.add_post(messages.INFER, self._infer)
        application.router.add_post(messages.STREAM, self._stream)
        application.router.add_post(messages.CANCEL, self._cancel)
        application.router.add_post(messages.OBSERVE, self._observe)
        application.router.add_post(messages.CALL, self._call)
        application.router.add_get(messages.AVAILABLE, _available)
        application.router.add_get(messages.WATCH, self._watches.serve)
        # Calls under way are waited for after that; a watch has no end of its own.
        application.on_shutdown.append(self._end_watches)
        return application

    async def _end_watches(self, application: web.Application) -> None:
        await self._watches.close()

    async def _infer(self, request: web.Request) -> web.StreamResponse:
        call = messages.read_call(*await wire.read(request))
        under_way = self._calls[call.id] = CallUnderWay(self._backend, call)
        try:
            outcome = await under_way.outcome()
        finally:
            del self._calls[call.id]
            under_way.take_back()
        return _reply(outcome)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        call = messages.read_call(*await wire.read(request))
        return await StreamUnderWay(self._backend, call).serve(request)

    async def _cancel(self, request: web.Request) -> web.Response:
        """Answer 404 for a call that is not known: it has ended, or is still to come."""
        value, _ = await wire.read(request)
        call = self._calls.get(messages.read_cancellation(value).id)
        if call is None:
            return web.Response(status=HTTPStatus.NOT_FOUND)
        call.take_back()
        return web.Response(status=HTTPStatus.NO_CONTENT)

    async def _observe(self, request: web.Request) -> web.StreamResponse:
        value, _ = await wire.read(request)
        try:
            seen = await self._sites.observe(messages.read_question(value).cluster)
            outcome = Outcome(observation=seen)
        except errors.HotnodeError as error:
            outcome = Outcome(failure=failure_of(error))
        return _reply(outcome)

    async def _call(self, request: web.Request) -> web.StreamResponse:
        call = messages.read_function_call(*await wire.read(request))
        try:
            outcome = Outcome(returned=await self._returned(call))
        except errors.HotnodeError as error:
            outcome = Outcome(failure=failure_of(error))
        return _reply(outcome)

    async def _returned(self, call: FunctionCall) -> Returned:
        calls, cluster = self._site_calls, call.cluster
        given = await calls.call(cluster, call.function, json.loads(call.body))
        return Returned(pause_s=calls.pause_s(cluster), body=json.dumps(given).encode())


async def _available(request: web.Request) -> web.Response:
    return web.Response(status=HTTPStatus.NO_CONTENT)


@web.middleware
async def _refuse_strangers(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer 409 to another version: its values may look the same and mean something else."""
    try:
        wire.require_our_version(request.headers)
    except wire.NotOurs as problem:
        log.error("hub_asked_by_stranger", reason=str(problem))  # noqa: TRY400 - the reason says it all
        return web.Response(
            status=HTTPStatus.CONFLICT, headers={messages.VERSION_HEADER: messages.VERSION}
        )
    return await handler(request)


def _reply(outcome: Outcome) -> web.Response:
    parts = messages.encode(outcome)
    return web.Response(body=wire.content(*parts), headers=wire.headers(*parts))
