"""A real HTTPS server on the loopback that answers each path with bytes that a test sets."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Self, TypeAlias

from tests.support.certificates import Authority
from tests.support.stream_server import stream_server

#: The smallest files that are what they say.
PNG = b"\x89PNG\r\n\x1a\n" + b"the rest of a picture"
JPEG = b"\xff\xd8\xff\xe0" + b"the rest of a photograph"
GIF = b"GIF89a" + b"the rest of a film"
WEBP = b"RIFF\x1a\x00\x00\x00WEBP" + b"the rest of another picture"

Handler: TypeAlias = Callable[[asyncio.StreamWriter], Awaitable[None]]


def answer(
    content: bytes, *, status: str = "200 OK", headers: Mapping[str, str] | None = None
) -> bytes:
    """Return a whole HTTP response."""
    lines = {"Content-Type": "image/png", "Content-Length": str(len(content))} | dict(headers or {})
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status}\r\nConnection: close\r\n{head}\r\n".encode() + content


def redirect(location: str) -> bytes:
    """Return a response that leads elsewhere, with a cookie for the way."""
    headers = {"Location": location, "Set-Cookie": "who=you; Path=/"}
    return answer(b"", status="302 Found", headers=headers)


@dataclass(slots=True)
class ImageHost:
    """Answers `paths`; `asked` are the heads of all requests, `names` those of all TLS hellos."""

    authority: Authority
    paths: dict[str, bytes | Handler] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)
    port: int = 0
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def __aenter__(self) -> Self:
        context = self.authority.server_context()
        context.sni_callback = self._note_name
        self.port = await self._stack.enter_async_context(stream_server(self._serve, tls=context))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def url(self, path: str, host: str = "images.test") -> str:
        """Return the address of a path."""
        return f"https://{host}:{self.port}{path}"

    def paths_asked(self) -> list[str]:
        """Return the path of every request so far."""
        return [head.split(" ")[1] for head in self.asked]

    def _note_name(self, _: ssl.SSLObject, name: str | None, __: ssl.SSLContext) -> None:
        self.names.append(name)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.asked.append(head)
            found = self.paths.get(head.split(" ")[1], answer(b"", status="404 Not Found"))
            if isinstance(found, bytes):
                writer.write(found)
                await writer.drain()
            else:
                await found(writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            # The client did not like what it saw, and left: that is what these tests are about.
            return
        finally:
            writer.transport.abort() if writer.is_closing() else writer.close()
