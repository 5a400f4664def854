"""The gateway's HTTP: one request at a time, its token, and what its answers mean.

aiohttp is imported when a gateway is asked: commands that ask nobody work where there is none.
"""

from __future__ import annotations

import errno
import json
import os
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from batch.client.errors import NoAnswer, NotLoggedIn, Refused
from batch.client.patience import Patience
from batch.client.token import Token

if TYPE_CHECKING:
    import aiohttp

CONNECT_TIMEOUT_S = 15.0
#: The longest silence (seconds): of an upload a gateway says something only once it is stored.
SILENCE_S = 120.0
#: Told how many bytes of a file went over, of how many.
Tell = Callable[[int, int], None]
#: No answer that is no file is larger (bytes).
_MOST_ANSWER = 8 * 1024**2
#: By the third one a gateway knows who reads OpenAI's words, where ALCF's have the same URL.
_HEADERS = {
    "User-Agent": "hotnode-batch",
    "Accept-Encoding": "identity",
    "X-Stainless-Lang": "python",
}
_UNAUTHORIZED, _MANY = 401, 429
#: Said by a gateway that starts or ends, or by the proxy before it.
_NOT_NOW = frozenset({408, 425, 502, 503, 504})
_BASE_URL = "A base URL ends with /v1."
#: What helps beside the gateway's own words, by its code.
_HINTS = {"batch_not_found": "`batch list` shows yours.", "not_found": _BASE_URL}
#: By status, where somebody answers who has no codes, as a proxy.
_HINTS_WITHOUT_CODE = {
    404: _BASE_URL,
    413: "Cut the file in two, or name a file of the cluster with --site-path.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request: a path below the base URL, and what goes with it.

    `body` becomes JSON; `data` makes the bytes of another body, once for each time it is sent.
    With `expects` these are sent only when the gateway says that it takes them.
    """

    method: str
    path: str
    query: Mapping[str, str] | None = None
    body: Mapping[str, object] | None = None
    data: Callable[[], AsyncIterator[bytes]] | None = None
    headers: Mapping[str, str] | None = None
    expects: bool = False


class Gateway:
    """One gateway, as the person with this token sees it."""

    def __init__(
        self, base_url: str, session: aiohttp.ClientSession, token: Token, *, patience: Patience
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.patience = patience
        self._session = session
        self._token = token

    async def json(self, ask: Ask) -> dict[str, Any]:
        """Return the JSON object that answers; asked again until there is one.

        Only for what may be asked twice.
        """
        return await self.patience.until_answered(lambda: self.json_once(ask))

    async def json_once(self, ask: Ask) -> dict[str, Any]:
        """Return the JSON object that answers, or raise `NoAnswer`."""
        async with self.answered(ask) as response:
            found = _object(await _read(response))
        if found is None:
            raise Refused("the answer is no JSON: is this the base URL?", status=response.status)
        return found

    @asynccontextmanager
    async def answered(self, ask: Ask) -> AsyncIterator[aiohttp.ClientResponse]:
        """Lend a good answer, or raise `NoAnswer`, `NotLoggedIn`, `Refused`.

        What breaks off while the body is read is `NoAnswer`, too. If the token is refused, and
        another one is to be had, that one is tried.
        """
        with _in_our_words(self.base_url):
            async with await self._with_a_token(ask) as response:
                if response.status >= 300:  # noqa: PLR2004 - HTTP's classes
                    if response.status == _UNAUTHORIZED:
                        raise await _not_logged_in(response, self._token)
                    raise await _problem(response, may_repeat=ask.method == "GET")
                yield response

    async def _with_a_token(self, ask: Ask) -> aiohttp.ClientResponse:
        """Return what answers to the token, or to another one if that is refused."""
        response = await self._send(ask, await self._token.current())
        if response.status == _UNAUTHORIZED and (token := await self._token.renewed()):
            response.release()
            return await self._send(ask, token)
        return response

    async def _send(self, ask: Ask, token: str) -> aiohttp.ClientResponse:
        return await self._session.request(
            ask.method,
            f"{self.base_url}/{ask.path}",
            params=ask.query,
            json=ask.body,
            data=ask.data() if ask.data else None,
            headers={**(ask.headers or {}), "Authorization": f"Bearer {token}"},
            expect100=ask.expects,
            allow_redirects=False,
        )


@contextmanager
def _in_our_words(base_url: str) -> Iterator[None]:
    """Raise what the network's errors mean."""
    import aiohttp  # noqa: PLC0415 - as said above

    try:
        yield
    except aiohttp.InvalidURL as error:
        raise Refused(f"{base_url} is no base URL", status=0) from error
    except aiohttp.ClientConnectorCertificateError as error:
        raise Refused(f"the certificate is not trusted: {error}", status=0) from error
    except (aiohttp.ClientError, OSError) as error:
        # A timeout is an OSError, too.
        raise NoAnswer(_silence(error)) from error


@asynccontextmanager
async def opened(base_url: str, token: Token, patience: Patience) -> AsyncIterator[Gateway]:
    """Lend a gateway; nothing is connected before the first request."""
    import aiohttp  # noqa: PLC0415 - as said above

    async with aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(
            total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=SILENCE_S
        ),
        headers=_HEADERS,
        cookie_jar=aiohttp.DummyCookieJar(),
        # Not `trust_env`, which would also read passwords from ~/.netrc, and fail beside a token.
        proxy=_proxy(base_url),
    ) as session:
        yield Gateway(base_url, session, token, patience=patience)


def _proxy(base_url: str) -> str | None:
    """Return the proxy that the environment names for this gateway."""
    place = urllib.parse.urlsplit(base_url)
    if not place.hostname or urllib.request.proxy_bypass(place.hostname):
        return None
    return urllib.request.getproxies().get(place.scheme)


async def _not_logged_in(response: aiohttp.ClientResponse, token: Token) -> NotLoggedIn:
    """Return the error that a refused token is, with one piece of advice."""
    message, _, _ = _said(await _read(response)) or ("", "", "")
    return NotLoggedIn(f"the gateway does not take the token{token.advice(message)}")


async def _problem(response: aiohttp.ClientResponse, *, may_repeat: bool) -> NoAnswer | Refused:
    """Return the error that an answer is."""
    status = response.status
    message, code, param = _said(await _read(response)) or (f"HTTP {status}.", "", "")
    after_s = _after_s(response)
    stays = response.headers.get("x-should-retry") == "false" and not may_repeat
    if (status in _NOT_NOW or (status == _MANY and after_s is not None)) and not stays:
        return NoAnswer(f"the gateway says {status}: {message}", after_s=after_s or 0.0)
    hint = _HINTS.get(code) if code else _HINTS_WITHOUT_CODE.get(status)
    return Refused(f"{message} {hint}" if hint else message, status=status, code=code, param=param)


async def _read(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > _MOST_ANSWER:
            raise Refused("the answer has no end: is this the base URL?", status=response.status)
    return bytes(body)


def _said(body: bytes) -> tuple[str, str, str] | None:
    """Return message, code and param of an error in OpenAI's form; None if it is in another."""
    found = (_object(body) or {}).get("error")
    if not isinstance(found, dict):
        return None
    return str(found.get("message")), str(found.get("code") or ""), str(found.get("param") or "")


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _after_s(response: aiohttp.ClientResponse) -> float | None:
    value = response.headers.get("retry-after", "").strip()
    return float(value) if value.isdecimal() else None


def _words(error: OSError) -> str:
    """Return what the system says; of addresses it has no number, but words of its own."""
    if error.errno is not None and error.errno in errno.errorcode:
        return os.strerror(error.errno)
    return str(error.strerror or error)


def _silence(error: Exception) -> str:
    """Return in words why there was no answer."""
    import aiohttp  # noqa: PLC0415 - as said above

    if isinstance(error, aiohttp.ClientConnectorError):
        return f"the gateway cannot be reached ({_words(error.os_error)})"
    if isinstance(error, TimeoutError):
        return "the gateway does not answer"
    return f"the connection to the gateway was lost ({str(error) or type(error).__name__})"
