"""The door of one instance: an HTTPS port of its node, for functions that hold its key.

An engine listens where its own node alone can reach it. At a site whose nodes reach no hub, the
functions on the login node come in here: whoever shows the engine's key may ask for the paths that
callers may use, and for nothing else. Key and fingerprint stand in files that the service's account
alone can read.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import socket
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager
from http import HTTPStatus
from pathlib import Path

from aiohttp import web

from compute_functions import carriage
from compute_functions.contract import MAX_UNPACKED
from compute_functions.door.certificate import Certificate, made
from compute_functions.door.threshold import Inside, Strangers, Threshold
from compute_functions.engine_client import NOT_SENT, Engine
from compute_functions.errors import ConfigurationError, EngineBrokeOff, EngineUnreachable
from compute_functions.relay.engine_calls import CallerWatch, EngineCalls

log = logging.getLogger("hotnode.door")

#: Callers come from one login node, and the engine has a queue of its own.
_BACKLOG = 1024
#: After the drain has waited for requests under way, what is left is cut off (seconds).
_CLOSE_WITHIN_S = 1.0
_STRANGERS = Strangers()


class Door:
    """Bound from its making on, open during `opened`. `paths` are the engine's own."""

    def __init__(
        self,
        engine: Engine,
        *,
        name: str,
        host: str,
        paths: Collection[str],
        strangers: Strangers = _STRANGERS,
        watch: CallerWatch | None = None,
    ) -> None:
        self._calls = EngineCalls(engine, watch)
        self._key = f"Bearer {engine.api_key}".encode()
        self._paths = frozenset(paths)
        self._certificate: Certificate = made(name)
        self._socket = _bound(host)
        self._threshold = Threshold(self._socket, strangers)
        #: How many requests are under way.
        self.in_flight = 0
        self._empty = asyncio.Event()
        self._empty.set()
        port = self._socket.getsockname()[1]
        self.address = f"https://{f'[{host}]' if ':' in host else host}:{port}"

    @property
    def fingerprint(self) -> str:
        """By what functions know that they speak with this very door."""
        return self._certificate.fingerprint

    @asynccontextmanager
    async def opened(self, folder: Path) -> AsyncIterator[None]:
        """Let requests in during the block; `folder` is private to this instance."""
        application = web.Application(client_max_size=MAX_UNPACKED)
        application.router.add_post("/{path:.*}", self._answer)
        runner = web.AppRunner(
            application,
            access_log=None,
            # A caller who leaves stops the engine.
            handler_cancellation=True,
            shutdown_timeout=_CLOSE_WITHIN_S,
        )
        context = self._certificate.context(folder)
        try:
            async with (
                self._calls,
                _served(runner) as made,
                self._threshold.open(Inside(made=made, context=context)),
            ):
                # Where a name means a loopback address, its node alone can come in.
                bound = self._socket.getsockname()[0]
                log.info("door_open address=%s bound=%s", self.address, bound)
                yield
        finally:
            self._socket.close()

    async def drained(self, within_s: float) -> bool:
        """Wait for the requests under way, at most so long (seconds); tell whether all ended.

        New ones are let in: a function may just have read that the instance is ready.
        """
        try:
            async with asyncio.timeout(within_s):
                await self._empty.wait()
        except TimeoutError:
            return False
        return True

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        given = request.headers.get("Authorization", "").encode(errors="surrogateescape")
        if not hmac.compare_digest(given, self._key):
            return _refused(HTTPStatus.UNAUTHORIZED, "key")
        self._threshold.admit(request.transport)
        if request.path not in self._paths:
            return _refused(HTTPStatus.NOT_FOUND, "path")
        with self._counted():
            return await self._carried(request)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self.in_flight += 1
        self._empty.clear()
        try:
            yield
        finally:
            self.in_flight -= 1
            if not self.in_flight:
                self._empty.set()

    async def _carried(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        headers = carriage.request_headers(request.headers, request.headers.get("x-request-id", ""))
        response: web.StreamResponse | None = None
        try:
            async with self._calls.call(request.path, headers=headers, body=body) as call:
                response = web.StreamResponse(
                    status=call.status, headers=carriage.response_headers(call.headers)
                )
                await response.prepare(request)
                while data := await call.read():
                    await response.write(data)
        except EngineUnreachable:
            return _refused(HTTPStatus.BAD_GATEWAY, "engine")
        except EngineBrokeOff as error:
            log.warning("engine_broke_off error=%s", error)
            # Hung up without an end: the function sees that the answer is not whole.
            if request.transport is not None:
                request.transport.abort()
            return response or web.Response(status=HTTPStatus.BAD_GATEWAY)
        await response.write_eof()
        return response


@asynccontextmanager
async def _served(runner: web.AppRunner) -> AsyncIterator[Callable[[], asyncio.Protocol]]:
    """Return what makes a connection's protocol; those that are left are cut off at the end."""
    await runner.setup()
    try:
        if runner.server is None:
            raise RuntimeError("the runner was set up and has no server")
        yield runner.server
    finally:
        await runner.cleanup()


def _refused(status: HTTPStatus, what: str) -> web.Response:
    """Return the answer to a request of which the engine hears nothing."""
    return web.Response(status=status, headers={NOT_SENT: what})


def _bound(host: str) -> socket.socket:
    """Return a socket at a free port of this node's address; raises `ConfigurationError`."""
    try:
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)
        family, address = found[0][0], found[0][4]
        bound = socket.create_server(address[:2], family=family, backlog=_BACKLOG)
    except OSError as error:
        raise ConfigurationError(f"job.task_host: {host}: {error.strerror}") from error
    except UnicodeError as error:
        raise ConfigurationError(f"job.task_host: {host}: {error}") from error
    bound.setblocking(False)
    return bound
