"""A host of images with a certificate of its own authority, and the adapter that trusts it."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import pytest

from resource_server.adapters.remote_images import ImageRules, RemoteImages
from tests.support.certificates import Authority, make_authority
from tests.support.image_host import PNG, ImageHost, answer


@dataclass(slots=True)
class Names:
    """Says where names lead: to the loopback, unless a test sets addresses, or none."""

    addresses: dict[str, list[str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def __call__(self, host: str, port: int, family: int, kind: int) -> list[tuple[Any, ...]]:
        self.asked.append(host)
        found = self.addresses.get(host, ["127.0.0.1"])
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [entry for a in found for entry in socket.getaddrinfo(a, port, 0, kind)]


class MakeImages(Protocol):
    """Opens an adapter under rules of the test's own."""

    def __call__(
        self, *, may_connect: Callable[[str], bool] = ..., **rules: Any
    ) -> AbstractAsyncContextManager[RemoteImages]: ...


def is_loopback(address: str) -> bool:
    return address == "127.0.0.1"


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    folder = tmp_path_factory.mktemp("authority")
    return make_authority(folder, "images.test", "127.0.0.1", "::1")


@pytest.fixture
async def host(authority: Authority) -> AsyncIterator[ImageHost]:
    async with ImageHost(authority) as running:
        running.paths["/a.png"] = answer(PNG)
        yield running


@pytest.fixture
def names() -> Names:
    return Names()


@pytest.fixture
def make_images(host: ImageHost, names: Names, authority: Authority) -> MakeImages:
    @asynccontextmanager
    async def make(
        *, may_connect: Callable[[str], bool] = is_loopback, **rules: Any
    ) -> AsyncIterator[RemoteImages]:
        allowed = replace(ImageRules(ports=(host.port,)), **rules)
        async with RemoteImages(
            allowed, may_connect=may_connect, look_up=names, tls=authority.client_context()
        ) as images:
            yield images

    return make


@pytest.fixture
async def images(make_images: MakeImages) -> AsyncIterator[RemoteImages]:
    async with make_images() as opened:
        yield opened
