"""Puts the images that a request names by address into its body."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import islice
from types import TracebackType
from typing import Self

import aiohttp

from resource_server.adapters.remote_images.addresses import is_public
from resource_server.adapters.remote_images.bulk import require_searchable
from resource_server.adapters.remote_images.download import Count, Downloads
from resource_server.adapters.remote_images.places import FIELDS, Image, Place, places_in
from resource_server.adapters.remote_images.resolver import CheckedResolver, LookUp, MayConnect
from resource_server.adapters.remote_images.rules import ImageRules, Refused
from resource_server.domain import errors
from resource_server.ports import RequestBody

#: A field that names something by address has one of these in it, unless characters are written as
#: escapes.
KEYS = (b"_url", b"source")
ESCAPED_ASCII = re.compile(rb"\\u00[2-7]")
#: Requests whose images one process fetches at the same time, and images of one request.
REQUESTS_AT_ONCE = 16
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
        self._turns = asyncio.Semaphore(REQUESTS_AT_ONCE)

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

        Without any it is the very same body. Raises `InvalidImage`, `InvalidRequest` for a body
        that is too much to look through, or `ImagesBusy`.
        """
        values = {field: body.value(field) for field in _fields_to_search(body)}
        places = (place for field, value in values.items() for place in places_in(field, value))
        found = list(islice(places, self._rules.max_images + 1))
        if not found:
            return body
        self._require_allowed(found)
        async with self._turn():
            images = await self._fetch_all(found)
        # Some tens of milliseconds for the largest, in which others shall be served.
        return await asyncio.to_thread(_with_images, body, values, found, images)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Hold one of the places of those whose images are fetched; time counts from here."""
        try:
            async with asyncio.timeout(self._rules.turn_within_s):
                await self._turns.acquire()
        except TimeoutError as error:
            raise errors.ImagesBusy from error
        try:
            yield
        finally:
            self._turns.release()

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
            async with asyncio.timeout_at(request.deadline), request.turns:
                return await self._downloads.fetch(place.url, request.count(place.url))
        except TimeoutError as error:
            limit = f"{self._rules.timeout_s:g} seconds"
            raise _invalid(place, Refused(f"could not be fetched within {limit}.")) from error
        except Refused as refused:
            raise _invalid(place, refused) from refused


def _fields_to_search(body: RequestBody) -> list[str]:
    """Return the fields that may name images, or raise `InvalidRequest` for too large a one."""
    found = []
    for field in FIELDS:
        raw = body.raw(field)
        if _may_name_images(raw):
            require_searchable(raw, field)
            found.append(field)
    return found


def _may_name_images(raw: bytes) -> bool:
    """Tell whether a field has to be read at all."""
    return any(key in raw for key in KEYS) or bool(b"\\u00" in raw and ESCAPED_ASCII.search(raw))


def _with_images(
    body: RequestBody,
    values: Mapping[str, object],
    found: list[Place],
    images: Mapping[str, Image],
) -> RequestBody:
    for place in found:
        if place.put is not None:
            place.put(images[place.url])
    changed = {place.trail.field for place in found}
    return body.replaced({field: values[field] for field in values if field in changed})


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
