"""Puts the images that a request names by address into its body."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections import Counter
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import aiohttp

from resource_server.adapters.remote_images.addresses import is_public
from resource_server.adapters.remote_images.download import Count, Downloads
from resource_server.adapters.remote_images.places import FIELDS, Image, Place, places_in
from resource_server.adapters.remote_images.resolver import CheckedResolver, LookUp, MayConnect
from resource_server.adapters.remote_images.rules import ImageRules, Refused
from resource_server.domain import errors
from resource_server.ports import RequestBody

#: A body that names something by address has one of these in it, unless characters are written as
#: escapes.
KEYS = (b"_url", b"source")
ESCAPED_ASCII = re.compile(rb"\\u00[2-7]")
#: Images that one process, and one request, fetches at the same time.
AT_ONCE = 32
AT_ONCE_OF_A_REQUEST = 4


class RemoteImages:
    """Fetches images and puts them into requests' bodies.

    `may_connect` decides about every address that is connected to; `look_up` finds the addresses
    of names, and `tls` holds the authorities that are trusted: by default the system's.
    """

    def __init__(
        self,
        rules: ImageRules = ImageRules(),  # noqa: B008 - it never changes
        *,
        may_connect: MayConnect = is_public,
        look_up: LookUp = socket.getaddrinfo,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._rules = rules
        self._may_connect = may_connect
        self._look_up = look_up
        self._tls = tls
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def __aenter__(self) -> Self:
        self._resolver = CheckedResolver(self._may_connect, self._look_up)
        connector = aiohttp.TCPConnector(
            resolver=self._resolver,
            use_dns_cache=False,
            force_close=True,
            ssl=self._tls or ssl.create_default_context(),
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
        )
        self._downloads = Downloads(self._session, self._rules, self._may_connect)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._session.close()
        await self._resolver.close()

    async def inlined(self, body: RequestBody) -> RequestBody:
        """Return the body with every remote image in it as a data URL.

        Without any it is the very same body. Raises `InvalidImage`.
        """
        if not _may_name_images(body.content):
            return body
        values = {field: body.value(field) for field in FIELDS if field in body.fields}
        places = {field: list(places_in(field, value)) for field, value in values.items()}
        found = [place for named in places.values() for place in named]
        if not found:
            return body
        self._require_allowed(found)
        images = await self._fetch_all(found)
        for place in found:
            if place.put is not None:
                place.put(images[place.url])
        return body.replaced({field: values[field] for field, named in places.items() if named})

    def _require_allowed(self, found: list[Place]) -> None:
        """Raise `InvalidImage` for what can be refused before anything is asked."""
        if len(found) > self._rules.max_images:
            over = found[self._rules.max_images]
            raise errors.InvalidImage(
                f"The request names more than {self._rules.max_images} images by address.",
                param=over.path,
            )
        for place in found:
            if place.put is None:
                raise _invalid(place, Refused("is no image. Of addresses, only images' are taken."))
            try:
                self._rules.checked(place.url)
            except Refused as refused:
                raise _invalid(place, refused) from refused

    async def _fetch_all(self, found: list[Place]) -> Mapping[str, Image]:
        """Return the image at each address, fetched once however often it is named."""
        first: dict[str, Place] = {}
        for place in found:
            first.setdefault(place.url, place)
        request = _Request(self._rules, Counter(place.url for place in found))
        try:
            async with asyncio.TaskGroup() as group:
                tasks = {
                    url: group.create_task(self._fetch(place, request))
                    for url, place in first.items()
                }
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from failed
        return {url: task.result() for url, task in tasks.items()}

    async def _fetch(self, place: Place, request: _Request) -> Image:
        try:
            async with asyncio.timeout_at(request.deadline), request.turns, self._turns:
                return await self._downloads.fetch(place.url, request.count(place.url))
        except TimeoutError as error:
            limit = f"{self._rules.timeout_s:g} seconds"
            raise _invalid(place, Refused(f"could not be fetched within {limit}.")) from error
        except Refused as refused:
            raise _invalid(place, refused) from refused


def _may_name_images(content: bytes) -> bool:
    """Tell whether a body has to be read at all."""
    return any(key in content for key in KEYS) or bool(
        b"\\u00" in content and ESCAPED_ASCII.search(content)
    )


class _Request:
    """What the images of one request share: their time, their turns and their room."""

    def __init__(self, rules: ImageRules, copies: Mapping[str, int]) -> None:
        self.deadline = asyncio.get_running_loop().time() + rules.timeout_s
        self.turns = asyncio.Semaphore(AT_ONCE_OF_A_REQUEST)
        self._rules = rules
        self._copies = copies
        self._taken = 0

    def count(self, url: str) -> Count:
        """Return what counts the bytes of one image, as often as the body will hold them."""
        of_image = 0

        def more(size: int) -> None:
            nonlocal of_image
            of_image += size
            self._taken += size * self._copies[url]
            if of_image > self._rules.max_image_bytes:
                raise Refused(f"is larger than {self._rules.max_image_bytes} bytes.")
            if self._taken > self._rules.max_request_bytes:
                raise Refused(
                    "is one too many: the request's images are larger than "
                    f"{self._rules.max_request_bytes} bytes together."
                )

        return more


def _invalid(place: Place, refused: Refused) -> errors.InvalidImage:
    return errors.InvalidImage(f"What '{place.path}' names {refused}", param=place.path)
