"""An engine that listens on a port or a Unix socket, asked over connections that are kept."""

from __future__ import annotations

import email.utils
import errno
import io
import logging
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import StreamWriter
from yarl import URL

from batch import errors
from batch.transports.transport import EngineLoad, Reply, Request

#: A loopback or a neighbour in the cluster answers at once (seconds).
CONNECT_TIMEOUT_S = 10.0
#: How long a word on how the engine is may take (seconds).
WORD_TIMEOUT_S = 5.0
#: Servers close connections that were idle for 5 s; a request on such a one would be lost.
_KEEP_S = 2.0
#: Larger bodies are sent in parts, so that the event loop goes on meanwhile (bytes).
_LARGE = 512 * 1024
_READ_AT_ONCE = 256 * 1024
#: No page of metrics is larger (bytes).
_MOST_WORDS = 8 * 1024**2
_HEALTH, _METRICS = "/health", "/metrics"
#: The gauges of vLLM, one a model and engine core.
_GAUGE = re.compile(
    rb"^vllm:num_requests_(running|waiting)(?:\{[^\n]*\})? ([0-9.e+]+)\s*$", re.MULTILINE
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineAddress:
    """Where an engine listens: `url`, as `http://127.0.0.1:8000`, or a Unix socket.

    A line may take `timeout_s`, and its answer `most_bytes`. No other path than those in `paths`
    is ever asked for a line; `leads` says where one leads that is the engine's under another name.
    """

    paths: frozenset[str]
    leads: Mapping[str, str] = field(default_factory=dict)
    url: str = "http://engine"
    socket: Path | None = None
    api_key: str = field(default="", repr=False)
    timeout_s: float = 1800.0
    most_bytes: int = 32 * 1024**2

    @property
    def name(self) -> str:
        """What a person calls it."""
        return self.url if self.socket is None else str(self.socket)


@asynccontextmanager
async def opened(address: EngineAddress) -> AsyncIterator[HttpEngine]:
    """Lend the engine at an address; nothing is connected before the first request."""
    connector: aiohttp.BaseConnector
    if address.socket is None:
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_S)
    else:
        path = str(address.socket)
        connector = aiohttp.UnixConnector(path, limit=0, keepalive_timeout=_KEEP_S)
    async with aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=address.timeout_s, sock_connect=CONNECT_TIMEOUT_S),
        headers=_headers(address),
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        read_bufsize=_READ_AT_ONCE,
    ) as session:
        yield HttpEngine(address, session)


class _Body(aiohttp.Payload):
    """What is sent of a line, unless it may not go any more when it would be written."""

    def __init__(self, request: Request, content: bytes | io.BytesIO) -> None:
        super().__init__(content, content_type="application/json")
        self._may_go = request.may_go
        self.withheld = False
        #: Whether the connection had ended before the first byte.
        self.unsent = False

    async def write_with_length(  # type: ignore[explicit-override] # Python 3.12 has the mark
        self, writer: AbstractStreamWriter, content_length: int | None
    ) -> None:
        """Write it, with what stands before it; otherwise the connection is closed unused."""
        if not self._may_go():
            self.withheld = True
            raise errors.Withheld("it was not its turn any more")
        self.unsent = _has_ended(writer)
        await super().write_with_length(writer, content_length)


class _SmallBody(_Body, aiohttp.BytesPayload):
    """One that is written at once."""


class _LargeBody(_Body, aiohttp.BytesIOPayload):
    """One that is written in pieces."""


class HttpEngine:
    """The engine at one address."""

    def __init__(self, address: EngineAddress, session: aiohttp.ClientSession) -> None:
        self._address = address
        self._session = session
        # Made once: a URL costs as much as a small request.
        leads = {path: path for path in address.paths} | dict(address.leads)
        self._urls = {path: URL(address.url + leads[path]) for path in address.paths}
        self._tells_load = True

    @property
    def name(self) -> str:
        """What a person calls the engine's place."""
        return self._address.name

    async def ask(self, request: Request) -> Reply:
        """Return the whole answer to one request, or raise a `CallFailed`, or `Withheld`."""
        small = len(request.body) < _LARGE
        body = (
            _SmallBody(request, request.body)
            if small
            else _LargeBody(request, io.BytesIO(request.body))
        )
        try:
            return await self._answer(request, body)
        except (aiohttp.ConnectionTimeoutError, aiohttp.ClientConnectorError) as error:
            raise errors.NotSent(str(error)) from error
        except TimeoutError as error:
            raise errors.TimedOut(f"no answer within {self._address.timeout_s:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise _failure(error, body) from error

    async def _answer(self, request: Request, body: _Body) -> Reply:
        async with self._session.post(
            self._urls[request.path],
            data=body,
            headers={"Content-Type": "application/json", "X-Request-Id": request.request_id},
            allow_redirects=False,
        ) as response:
            return Reply(
                status=response.status,
                body=await _whole(response, self._address.most_bytes),
                request_id=response.headers.get("x-request-id") or request.request_id,
                retry_after_s=_retry_after(response.headers.get("retry-after")),
            )

    async def ready(self) -> bool:
        """Whether the engine takes requests: it may have no word on that, and then it does."""
        try:
            status, _ = await self._word(_HEALTH)
        except (aiohttp.ClientError, TimeoutError, OSError, errors.AnswerTooLarge) as error:
            _log.debug("engine_not_ready %s", error)
            return False
        return status < 500  # noqa: PLR2004 - HTTP's bound between whose fault it is

    async def load(self) -> EngineLoad | None:
        """Return how busy the engine is; None if it does not tell, now or ever."""
        if not self._tells_load:
            return None
        try:
            status, page = await self._word(_METRICS)
        except (aiohttp.ClientError, TimeoutError, OSError, errors.AnswerTooLarge) as error:
            _log.debug("engine_load_unknown %s", error)
            return None
        load = read_load(page)
        # An engine that is up and has no such page will not have one later.
        self._tells_load = load is not None or status >= 500  # noqa: PLR2004 - likewise
        return load

    async def _word(self, path: str) -> tuple[int, bytes]:
        async with self._session.get(
            self._address.url + path,
            timeout=aiohttp.ClientTimeout(total=WORD_TIMEOUT_S),
            allow_redirects=False,
        ) as response:
            return response.status, await _whole(response, _MOST_WORDS)


def _has_ended(writer: AbstractStreamWriter) -> bool:
    """Whether what is written now goes nowhere."""
    if not isinstance(writer, StreamWriter):
        return False
    return writer.transport is None or writer.transport.is_closing()


def _failure(
    error: aiohttp.ClientError | OSError, body: _Body
) -> errors.CallFailed | errors.Withheld:
    """Return what it means that a request ended so: whether the engine can have heard of it.

    On a Unix socket with too many before it there is no connection. asyncio takes that for one,
    until it reads or writes: whichever is first finds that nobody is there.
    """
    if body.withheld:
        return errors.Withheld("it was not its turn any more")
    if body.unsent or (isinstance(error, OSError) and error.errno == errno.ENOTCONN):
        return errors.NotSent(str(error))
    return errors.BrokenOff(str(error) or type(error).__name__)


def read_load(page: bytes) -> EngineLoad | None:
    """Return what a page of vLLM's metrics says, all its engine cores together."""
    sums: dict[bytes, float] = {}
    for kind, value in _GAUGE.findall(page):
        sums[kind] = sums.get(kind, 0.0) + float(value)
    if set(sums) != {b"running", b"waiting"}:
        return None
    return EngineLoad(running=int(sums[b"running"]), waiting=int(sums[b"waiting"]))


async def _whole(response: aiohttp.ClientResponse, most: int) -> bytes:
    length = response.content_length
    if length is not None and length <= most:
        return await response.read()
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > most:
            raise errors.AnswerTooLarge(f"the answer has more than {most} bytes")
    return bytes(body)


def _headers(address: EngineAddress) -> dict[str, str]:
    # Without "identity" aiohttp would offer compression, which neighbours only lose time on.
    own = {"Accept-Encoding": "identity", "User-Agent": "hotnode-batch"}
    if address.api_key:
        own["Authorization"] = f"Bearer {address.api_key}"
    return own


def _retry_after(value: str | None) -> float | None:
    """Read the header's seconds or date; None without either."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        return max(email.utils.parsedate_to_datetime(value).timestamp() - time.time(), 0.0)
    except (ValueError, OverflowError):
        return None
