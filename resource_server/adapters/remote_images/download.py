"""Fetches one image: every hop checked, every byte counted, nothing believed that is only said."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

import aiohttp
import structlog
from yarl import URL

from resource_server.adapters.remote_images.kinds import media_type_of
from resource_server.adapters.remote_images.places import Image
from resource_server.adapters.remote_images.resolver import MayConnect
from resource_server.adapters.remote_images.rules import MAX_REDIRECTS, ImageRules, Refused

log = structlog.get_logger()

REDIRECTS = frozenset(
    {
        HTTPStatus.MOVED_PERMANENTLY,
        HTTPStatus.FOUND,
        HTTPStatus.SEE_OTHER,
        HTTPStatus.TEMPORARY_REDIRECT,
        HTTPStatus.PERMANENT_REDIRECT,
    }
)
HEADERS = {
    "Accept": "image/png, image/jpeg, image/webp, image/gif",
    # A few packed bytes can unpack to gigabytes.
    "Accept-Encoding": "identity",
    "User-Agent": "hotnode",
}
#: What servers say of files whose kind they do not know.
UNKNOWN_TYPES = frozenset({"application/octet-stream", "binary/octet-stream"})
CHUNK_BYTES = 65_536

#: Told how many bytes have come, before they are kept; raises `Refused` when they are too many.
Count = Callable[[int], None]


class Downloads:
    """Fetches images with a session that keeps no cookies and follows nothing by itself."""

    def __init__(
        self, session: aiohttp.ClientSession, rules: ImageRules, may_connect: MayConnect
    ) -> None:
        self._session = session
        self._rules = rules
        self._may_connect = may_connect

    async def fetch(self, address: str, count: Count) -> Image:
        """Return the image at an address, or raise `Refused`."""
        url = self._checked(address)
        for _ in range(MAX_REDIRECTS + 1):
            found = await self._ask(url, count)
            if isinstance(found, Image):
                return found
            url = self._checked(found)
        raise Refused(f"redirects more than {MAX_REDIRECTS} times.")

    def _checked(self, address: str) -> URL:
        url = self._rules.checked(address)
        # aiohttp asks no resolver about a host that is a number.
        if _is_number(url) and not self._may_connect(url.host or ""):
            raise _unreachable("the address is not public")
        return url

    async def _ask(self, url: URL, count: Count) -> Image | str:
        """Return the image at an address, or the address that it redirects to."""
        try:
            async with self._session.get(url, headers=HEADERS, allow_redirects=False) as response:
                try:
                    if response.status in REDIRECTS:
                        return str(url.join(URL(response.headers.get("Location", ""))))
                    return await _read(response, count)
                finally:
                    _hang_up(response)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _unreachable(type(error.__cause__ or error).__name__) from error


def _is_number(url: URL) -> bool:
    # The test that aiohttp uses, so that no host is left to neither of us.
    return aiohttp.helpers.is_ip_address(url.raw_host)


async def _read(response: aiohttp.ClientResponse, count: Count) -> Image:
    if response.status != HTTPStatus.OK:
        raise Refused(f"could not be fetched: its server answered HTTP {response.status}.")
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Refused("could not be fetched: its server sends it packed.")
    said = response.content_type
    if not said.startswith("image/") and said not in UNKNOWN_TYPES:
        raise _no_image()
    content = bytearray()
    async for chunk in response.content.iter_chunked(CHUNK_BYTES):
        count(len(chunk))
        content += chunk
    whole = bytes(content)
    media_type = media_type_of(whole)
    if media_type is None:
        raise _no_image()
    return Image(media_type=media_type, content=whole)


def _hang_up(response: aiohttp.ClientResponse) -> None:
    """End a connection over which more may come.

    A polite end of TLS waits half a minute for the host's own good-bye, which need not come.
    """
    if response.connection is not None and response.connection.transport is not None:
        response.connection.transport.abort()


def _no_image() -> Refused:
    return Refused("is no PNG, JPEG, WebP or GIF.")


def _unreachable(reason: str) -> Refused:
    """Return one refusal for all that can go wrong below HTTP.

    What is inside our network must not be found out by asking for it, so the reason stands in our
    log alone. The address is part of somebody's question, and is not logged.
    """
    log.info("image_not_fetched", reason=reason)
    return Refused("could not be fetched: its host cannot be reached over https from here.")
