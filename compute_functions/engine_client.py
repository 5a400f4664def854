"""One HTTP call to an engine, over its Unix socket or its loopback port, with every limit set."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp

from compute_functions import errors

#: A socket of this host answers at once; a port of another host within the site's network (s).
CONNECT_TIMEOUT_S = 10.0
_CHUNK = 256 * 1024
#: By this header an instance's door says that the engine has heard nothing of a request.
NOT_SENT = "x-hotnode-not-sent"
_HTTPS = "https://"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What to send, and how long and how much to wait for."""

    path: str
    timeout_s: float
    max_bytes: int
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the engine said, whatever its status; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """Where an engine listens, and the key that opens it.

    `endpoint` is the path of a Unix socket, or an address as `http://127.0.0.1:8000`. One as
    `https://node-7:40123` is an instance's door, which must show the certificate with this
    `fingerprint` before anything is sent.
    """

    endpoint: str
    api_key: str = field(repr=False)
    fingerprint: str = ""
    connect_s: float = CONNECT_TIMEOUT_S

    @property
    def is_door(self) -> bool:
        """Whether it is another host's, reached by the door of its instance."""
        return self.endpoint.startswith(_HTTPS)

    def headers(self, given: Mapping[str, str]) -> dict[str, str]:
        """Return the headers of a call: those given, and the key."""
        # Without "identity" aiohttp would offer compression, which this host only loses time on.
        own = {"accept-encoding": "identity"}
        if self.api_key:
            own["authorization"] = f"Bearer {self.api_key}"
        return {**given, **own}

    async def send(self, call: Call) -> Answer:
        """Make one call on a connection of its own, or raise a `CallFailed`."""
        try:
            return await self._send(call)
        except aiohttp.ConnectionTimeoutError as error:
            raise call_failed(error, self.endpoint) from error
        except TimeoutError as error:
            raise errors.EngineTimedOut(
                f"no answer to {call.path} within {call.timeout_s:g} s"
            ) from error
        except (aiohttp.ClientError, OSError) as error:
            raise call_failed(error, self.endpoint) from error

    @asynccontextmanager
    async def open(
        self, call: Call, *, timeout_s: float | None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Make one call on a connection of its own; leaving it before the end hangs up.

        Raises what aiohttp raises. Without a timeout the caller keeps the time.
        """
        timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=self.connect_s)
        async with (
            aiohttp.ClientSession(
                connector=self._connector(), timeout=timeout, auto_decompress=False
            ) as session,
            session.request(
                call.method,
                self._base() + call.path,
                # As a file, so that 25 MB of sound are written in parts.
                data=io.BytesIO(call.body) if call.body else None,
                headers=self.headers(call.headers),
                allow_redirects=False,
            ) as response,
        ):
            if self.is_door and NOT_SENT in response.headers:
                raise NotSent(response.headers[NOT_SENT])
            yield response

    async def _send(self, call: Call) -> Answer:
        async with self.open(call, timeout_s=call.timeout_s) as response:
            headers = {name.lower(): value for name, value in response.headers.items()}
            body = await _read(response, call)
            return Answer(status=response.status, headers=headers, body=body)

    def _connector(self) -> aiohttp.BaseConnector:
        if self.endpoint.startswith("/"):
            return aiohttp.UnixConnector(path=self.endpoint, force_close=True)
        if self.is_door:
            shown = aiohttp.Fingerprint(bytes.fromhex(self.fingerprint))
            return aiohttp.TCPConnector(force_close=True, ssl=shown)
        return aiohttp.TCPConnector(force_close=True)

    def _base(self) -> str:
        return "http://engine" if self.endpoint.startswith("/") else self.endpoint


class NotSent(aiohttp.ClientError):
    """The door of an instance did not pass a request on: for want of this."""


#: Who shows another certificate is sent nothing, and a door says itself what it did not pass on.
NEVER_SENT = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.ServerFingerprintMismatch,
    NotSent,
)


def call_failed(error: Exception, endpoint: str) -> errors.CallFailed:
    """Return what aiohttp's error means: nothing is sent before there is a connection."""
    never_sent = isinstance(error, NEVER_SENT)
    kind = errors.EngineUnreachable if never_sent else errors.EngineBrokeOff
    return kind(f"{endpoint}: {error}")


async def _read(response: aiohttp.ClientResponse, call: Call) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK):
        body += chunk
        if len(body) > call.max_bytes:
            raise errors.AnswerTooLarge(f"more than {call.max_bytes} bytes")
    return bytes(body)
