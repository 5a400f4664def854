"""Django's way from an ASGI request to a view and back, without a thread for every request."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from contextlib import closing
from http import HTTPStatus
from typing import IO, Any

import structlog
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import ResolverMatch, set_script_prefix, set_urlconf
from structlog.typing import FilteringBoundLogger
from typing_extensions import override

from resource_server.api import refusals
from resource_server.api.answer import send_answer
from resource_server.api.body import read_body
from resource_server.api.exchange import Exchange, Receive, Send
from resource_server.api.request import LeanRequest
from resource_server.api.views import AsyncView, find_view, make_async
from resource_server.domain import errors

#: Seconds for which a client may neither send its body nor read its answer.
STALL_TIMEOUT_S = 60.0
_HOSTS_REMEMBERED = 1000


class LeanHandler(ASGIHandler):
    """Serves Django's views to an ASGI server.

    It differs from its base class in this:

    - An asynchronous view runs in the server's task and costs no thread. The signals
      `request_started` and, unless the response is a stream, `request_finished` are not sent:
      code that uses the ORM calls `store.database.in_database`.
    - A synchronous view runs in a thread of its own, whose database connections are closed.
    - A client that leaves cancels the view; the response's stream is closed in the same task.
    - A body has a limit, and has to keep arriving.
    - The header `Host` is always checked.
    - Every response carries `x-request-id`, and every request writes one line to the log.
    - What would be an HTML page about an error is rendered by `error_response` instead.

    The log must be configured before one is made.
    """

    _middleware_chain: AsyncView

    def __init__(
        self,
        *,
        max_body_bytes: int,
        error_response: Callable[[errors.HotnodeError], HttpResponse],
        stall_timeout_s: float = STALL_TIMEOUT_S,
    ) -> None:
        super().__init__()
        self._max_body_bytes = max_body_bytes
        self._error_response = error_response
        self._stall_timeout_s = stall_timeout_s
        self._views: dict[Callable[..., Any], AsyncView] = {}
        self._admitted: set[tuple[str | None, str | None]] = set()
        self._log: FilteringBoundLogger = structlog.get_logger().bind()

    @override
    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Serve one HTTP request."""
        if scope["type"] != "http":
            raise ValueError(f"this handler serves http, and not {scope['type']}")
        exchange = Exchange(
            scope, receive, send, stall_timeout_s=self._stall_timeout_s, log=self._log
        )
        with exchange:
            try:
                await self._serve(exchange)
            except RequestAborted:
                return  # the client left before its body was here
            except Exception as problem:
                if exchange.started:
                    # The server logs it and cuts the connection: nobody takes this for an answer.
                    raise
                await send_answer(exchange, self._refusal(problem))

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

    @override
    def resolve_request(self, request: HttpRequest) -> ResolverMatch:
        """Return the view for a request; raises `DisallowedHost` for a host that is not ours."""
        self._admit_host(request)
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

    def _admit_host(self, request: HttpRequest) -> None:
        hosts = (request.META.get("HTTP_HOST"), request.META.get("HTTP_X_FORWARDED_HOST"))
        if hosts in self._admitted:
            return
        request.get_host()
        if len(self._admitted) < _HOSTS_REMEMBERED:
            self._admitted.add(hosts)

    async def _serve(self, exchange: Exchange) -> None:
        with closing(await read_body(exchange, max_bytes=self._max_body_bytes)) as body:
            if prefix := get_script_prefix(exchange.scope):
                set_script_prefix(prefix)
            with closing(_request(exchange, body)) as request:
                response = await self.get_response_async(request)
                await send_answer(exchange, self._in_envelope(request, response))

    def _refusal(self, problem: Exception) -> HttpResponse:
        """Return the answer to a request that no view could answer."""
        if isinstance(problem, refusals.BodyStalled):
            response = self._error_response(problem)
            response.status_code = HTTPStatus.REQUEST_TIMEOUT
            # The rest of the body may still come, and is not the next request.
            response.headers["Connection"] = "close"
            return response
        if isinstance(problem, errors.HotnodeError):
            return self._error_response(problem)
        self._log.error("unhandled_error", exc_info=problem)
        return self._error_response(refusals.InternalError())

    def _in_envelope(self, request: LeanRequest, response: HttpResponseBase) -> HttpResponseBase:
        """Return the response, or our rendering of the error that it shows as an HTML page.

        The status stays, and so do headers that say more than the page, as `Allow`.
        """
        page = response.headers.get("Content-Type", "").startswith("text/html")
        if response.status_code < HTTPStatus.BAD_REQUEST or not page or response.streaming:
            return response
        error = refusals.for_status(response.status_code, method=request.method, path=request.path)
        rendered = self._error_response(error)
        rendered.status_code = response.status_code
        for name, value in response.items():
            rendered.headers.setdefault(name, value)
        return rendered


def _request(exchange: Exchange, body: IO[bytes]) -> LeanRequest:
    try:
        return LeanRequest(exchange, body)
    except UnicodeDecodeError as error:
        raise errors.InvalidRequest("The URL's query is not UTF-8.") from error
