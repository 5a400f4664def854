"""Django's way from an ASGI request to a view and back, without a thread for every request."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import closing, suppress
from http import HTTPStatus
from typing import Any

import structlog
from django.conf import settings
from django.core.exceptions import DisallowedHost, RequestAborted
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import Resolver404, ResolverMatch, set_script_prefix, set_urlconf
from structlog.typing import FilteringBoundLogger
from typing_extensions import override

from resource_server.api import refusals
from resource_server.api.answer import EngineResponse, send_answer
from resource_server.api.body import Bodies, has_body
from resource_server.api.event_stream import EventStreamResponse, send_events
from resource_server.api.exchange import Exchange, Receive, Send
from resource_server.api.keep_alive import KEEP_ALIVE_S
from resource_server.api.probes import is_probe
from resource_server.api.request import LeanRequest
from resource_server.api.request_log import request_log
from resource_server.api.route_names import route_fields
from resource_server.api.streamed_body import StreamedBodies
from resource_server.api.views import AsyncView, find_view, make_async
from resource_server.api.waiting_stream import WaitingStreamResponse, send_waiting
from resource_server.domain import errors
from resource_server.domain.limits import NO_SIZES, BodySizes
from resource_server.ports import RequestObserver

#: Seconds for which a client may neither send its body nor read its answer.
STALL_TIMEOUT_S = 60.0
#: Seconds for which a server that stops waits for a client to read that it does.
FAREWELL_S = 1.0
_HOSTS_REMEMBERED = 1000
#: Characters of a foreign host that the log shows.
_HOST_SHOWN = 255


class LeanHandler(ASGIHandler):
    """Serves Django's views to an ASGI server.

    It differs from its base class in this:

    - An asynchronous view runs in the server's task and costs no thread. The signals
      `request_started` and, unless the response is a stream, `request_finished` are not sent:
      code that uses the ORM calls `store.database.in_database`.
    - A synchronous view runs in a thread of its own, whose database connections are closed.
    - A client that leaves cancels the view; the response's stream is closed in the same task.
    - The header `Host` is always checked (see `is_probe` for the exception), and before the body
      is read; so is whether there is such a URL.
    - Whoever sends a body is looked at by `admit` before it is read, which says how much of one
      they may send.
    - A body has a limit, has to keep arriving, and has to be here in the end; all bodies together
      have a limit too (see `Bodies`). Views may ask for bodies that they read themselves while
      they come (see `streams`).
    - A server that stops answers the requests that it cuts short with 503.
    - Every response carries `x-request-id`, and every request writes one line to the log.
    - What would be an HTML page about an error is rendered by `error_response` instead.

    The log must be configured before one is made.
    """

    _middleware_chain: AsyncView

    def __init__(
        self,
        *,
        bodies: Bodies,
        error_response: Callable[[errors.HotnodeError, str], HttpResponse],
        admit: Callable[[LeanRequest], Awaitable[BodySizes]] | None = None,
        streamed_bodies: StreamedBodies | None = None,
        stall_timeout_s: float = STALL_TIMEOUT_S,
        keep_alive_s: float = KEEP_ALIVE_S,
    ) -> None:
        super().__init__()
        self._bodies = bodies
        self._error_response = error_response
        self._admit = admit
        self._streamed_bodies = streamed_bodies or StreamedBodies()
        self._stall_timeout_s = stall_timeout_s
        self._keep_alive_s = keep_alive_s
        self._views: dict[Callable[..., Any], AsyncView] = {}
        self._admitted: set[tuple[str | None, str | None]] = set()
        self._log: FilteringBoundLogger = structlog.get_logger().bind()
        self._request_log = request_log()
        #: Who is told of every request, from now on.
        self.observer: RequestObserver | None = None

    @override
    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Serve one HTTP request."""
        if scope["type"] != "http":
            raise ValueError(f"this handler serves http, and not {scope['type']}")
        exchange = Exchange(
            scope,
            receive,
            send,
            stall_timeout_s=self._stall_timeout_s,
            log=self._request_log,
            observer=self.observer,
        )
        with exchange:
            try:
                await self._serve(exchange)
            except RequestAborted:
                return  # the client left before its body was here
            except asyncio.CancelledError:
                await self._say_farewell(exchange)
                raise
            except Exception as problem:
                if exchange.started:
                    # The server logs it and cuts the connection: nobody takes this for an answer.
                    raise
                exchange.log_fields |= refusals.log_fields(_ours(problem))
                await send_answer(exchange, self._refusal(problem, exchange.scope["path"]))

    @override
    async def get_response_async(self, request: HttpRequest) -> HttpResponseBase:
        """Return the view's response.

        Unlike Django's own, it logs nothing about bare statuses, and undoes a middleware's choice
        of a URLconf afterwards instead of making the usual choice before every request.
        """
        try:
            return await self._middleware_chain(request)
        finally:
            if hasattr(request, "urlconf"):
                set_urlconf(None)

    async def _get_response_async(self, request: HttpRequest) -> HttpResponseBase:
        """Return the view's response, as the base class's method of this name does.

        A direct view's is not looked at: Django's own way is longer than many a view's.
        """
        match = request.resolver_match
        # A middleware may look at views, or choose another URLconf than the one that was asked.
        if match is None or settings.MIDDLEWARE or not getattr(match.func, "direct", False):
            made: HttpResponseBase = await super()._get_response_async(request)  # type: ignore[misc] # the stubs leave it out
            return made
        response: HttpResponseBase = await match.func(request, **match.kwargs)
        return response

    @override
    def resolve_request(self, request: HttpRequest) -> ResolverMatch:
        """Return the view for a request, or raise Django's `Resolver404`."""
        if hasattr(request, "urlconf"):
            return super().resolve_request(request)
        match = request.resolver_match = find_view(request.path_info)
        return match

    @override
    def make_view_atomic(self, view: Callable[..., Any]) -> Callable[..., Any]:
        """Return an asynchronous view that does what `view` does."""
        made = self._views.get(view)
        if made is None:
            made = self._views[view] = make_async(super().make_view_atomic(view))
        return made

    def _admit_host(self, request: LeanRequest) -> None:
        hosts = (request.META.get("HTTP_HOST"), request.META.get("HTTP_X_FORWARDED_HOST"))
        if hosts in self._admitted:
            return
        try:
            request.get_host()
        except DisallowedHost as error:
            if hosts[1] is None and is_probe(request.path_info, hosts[0]):
                return
            request.log_fields["refused_host"] = (hosts[0] or "")[:_HOST_SHOWN]
            raise refusals.ForeignHost from error
        if len(self._admitted) < _HOSTS_REMEMBERED:
            self._admitted.add(hosts)

    async def _serve(self, exchange: Exchange) -> None:
        if prefix := get_script_prefix(exchange.scope):
            set_script_prefix(prefix)
        with closing(_request(exchange)) as request:
            self._admit_host(request)
            if not self._may_have_view(request):
                await self._answer(exchange, request)
                return
            sizes = NO_SIZES
            if self._admit is not None and has_body(request):
                sizes = await self._admit(request)
            if streams(request):
                await self._answer_streamed(exchange, request)
                return
            with self._bodies.incoming(exchange, sizes) as body:
                request.take_body(await body.read())
                await self._answer(exchange, request)

    async def _answer_streamed(self, exchange: Exchange, request: LeanRequest) -> None:
        """Have a view read the body while it comes; one of a stranger is not read at all."""
        if request.person is None:
            await self._answer(exchange, request)
            return
        with self._streamed_bodies.incoming(exchange, request.person.account_id) as body:
            request.streamed = body
            await self._answer(exchange, request)

    async def _answer(self, exchange: Exchange, request: LeanRequest) -> None:
        response = await self.get_response_async(request)
        if isinstance(response, EventStreamResponse):
            await send_events(exchange, response, keep_alive_s=self._keep_alive_s)
        elif isinstance(response, WaitingStreamResponse):
            await send_waiting(exchange, response, keep_alive_s=self._keep_alive_s)
        else:
            await send_answer(exchange, self._in_envelope(request, response))

    def _may_have_view(self, request: LeanRequest) -> bool:
        """Tell whether the body is worth reading."""
        try:
            match = self.resolve_request(request)
        except Resolver404:
            # A middleware may know another URLconf.
            return bool(settings.MIDDLEWARE)
        request.log_fields |= route_fields(match.route)
        return True

    async def _say_farewell(self, exchange: Exchange) -> None:
        """Tell a client that still waits that the server stops.

        The server cancelled the task once, which does not keep it from sending this.
        """
        if exchange.started or exchange.client_gone:
            return
        exchange.log_fields["error_code"] = refusals.ServerStopping.code
        response = self._error_response(refusals.ServerStopping(), exchange.scope["path"])
        response.headers["Connection"] = "close"
        with suppress(TimeoutError):  # the client does not read, and the server does not wait
            async with asyncio.timeout(FAREWELL_S):
                await send_answer(exchange, response)

    def _refusal(self, problem: Exception, path: str) -> HttpResponse:
        """Return the answer to a request that no view could answer."""
        if isinstance(problem, errors.HotnodeError):
            return self._error_response(problem, path)
        self._log.error("unhandled_error", exc_info=problem)
        return self._error_response(refusals.InternalError(), path)

    def _in_envelope(self, request: LeanRequest, response: HttpResponseBase) -> HttpResponseBase:
        """Return the response, or our rendering of the error that it shows as an HTML page.

        The status stays, and so do headers that say more than the page, as `Allow`.
        """
        page = response.headers.get("Content-Type", "").startswith("text/html")
        if response.status_code < HTTPStatus.BAD_REQUEST or not page or response.streaming:
            return response
        if isinstance(response, EngineResponse):
            return response
        error = refusals.for_status(response.status_code, method=request.method, path=request.path)
        request.log_fields["error_code"] = error.code
        rendered = self._error_response(error, request.path)
        rendered.status_code = response.status_code
        for name, value in response.items():
            rendered.headers.setdefault(name, value)
        return rendered


def streams(request: LeanRequest) -> bool:
    """Tell whether a request's view reads the body while it comes: its `streamed` says so."""
    match = request.resolver_match
    return match is not None and request.method in getattr(match.func, "streamed", ())


def _ours(problem: Exception) -> errors.HotnodeError:
    return problem if isinstance(problem, errors.HotnodeError) else refusals.InternalError()


def _request(exchange: Exchange) -> LeanRequest:
    try:
        return LeanRequest(exchange)
    except UnicodeDecodeError as error:
        raise errors.InvalidRequest("The URL's query is not UTF-8.") from error
