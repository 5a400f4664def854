"""Sends an input file to the gateway: streamed, told as it goes, sent anew where it was cut."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from batch.client.errors import ClientError, NoAnswer, NotAsTold
from batch.client.gateway import SILENCE_S, Ask, Gateway, Tell
from batch.input_file import InputFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """A file as `multipart/form-data`.

    Its length is told, so that a gateway refuses at once what is too large.
    """

    file: InputFile
    name: str
    boundary: str

    @property
    def head(self) -> bytes:
        """All before the file."""
        name = self.name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
        return (
            f"--{self.boundary}\r\n"
            'Content-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
            f"--{self.boundary}\r\n"
            f'Content-Disposition: form-data; name="file"; filename="{name}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        ).encode("utf-8", "replace")

    @property
    def tail(self) -> bytes:
        """All behind it."""
        return f"\r\n--{self.boundary}--\r\n".encode()

    @property
    def headers(self) -> dict[str, str]:
        """What the request says of it."""
        return {
            "Content-Type": f"multipart/form-data; boundary={self.boundary}",
            "Content-Length": str(len(self.head) + self.file.size + len(self.tail)),
        }


class Upload:
    """One file on its way. `upload` may be called again; a gateway keeps only what is whole."""

    def __init__(self, gateway: Gateway, form: Form, tell: Tell) -> None:
        self._gateway = gateway
        self._form = form
        self._tell = tell
        self._expects = True

    async def upload(self) -> str:
        """Return the id of the file at the gateway, or raise `NoAnswer`.

        `InputRefused` is raised if the file changed since it was opened.
        """
        self._form.file.require_unchanged()
        try:
            async with asyncio.timeout(SILENCE_S) as limit:
                found = await self._sent(limit)
        except TimeoutError as error:
            raise NoAnswer("the gateway takes no more of the file") from error
        finally:
            # Not everybody who stands between knows how to say "go on".
            self._expects = False
        self._form.file.require_unchanged()
        if found.get("bytes") != self._form.file.size:
            raise NotAsTold(
                f"{self._form.file.size} bytes were sent, and the gateway has {found.get('bytes')}"
            )
        return str(found.get("id"))

    async def _sent(self, limit: asyncio.Timeout) -> dict[str, Any]:
        ask = Ask(
            method="POST",
            path="files",
            data=lambda: self._content(limit),
            headers=self._form.headers,
            expects=self._expects,
        )
        return await self._gateway.json_once(ask)

    async def _content(self, limit: asyncio.Timeout) -> AsyncIterator[bytes]:
        """Yield the form; as long as somebody takes it, there is no timeout."""
        loop, size, sent = asyncio.get_running_loop(), self._form.file.size, 0
        yield self._form.head
        blocks = self._form.file.blocks()
        while block := await asyncio.to_thread(next, blocks, b""):
            self._tell(sent, size)
            yield block
            sent += len(block)
            limit.reschedule(loop.time() + SILENCE_S)
        self._tell(sent, size)
        yield self._form.tail


async def upload(gateway: Gateway, file: InputFile, name: str, tell: Tell) -> str:
    """Return the id of a file once all of it is at the gateway.

    The token is tried before: who is refused shall not have sent a gigabyte first.
    """
    await gateway.json(Ask(method="GET", path="batches", query={"limit": "1"}))
    form = Form(file=file, name=name, boundary=f"hotnode-{secrets.token_hex(16)}")
    sending = Upload(gateway, form, tell)
    return await gateway.patience.until_answered(sending.upload)


async def take_back(gateway: Gateway, file_id: str) -> None:
    """Delete a file of which no batch came to be; it is no harm if that does not work."""
    try:
        await gateway.json_once(Ask(method="DELETE", path=f"files/{quote(file_id, safe='')}"))
    except ClientError as error:
        gateway.patience.say(f"the uploaded file {file_id} stays at the gateway: {error}")
