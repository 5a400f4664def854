"""Fetches a file from the gateway: resumed where it was cut, checked, and there in one step."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from batch import whole_file
from batch.client.errors import NoAnswer, NotAsTold, Refused
from batch.client.gateway import Ask, Gateway, Tell
from batch.errors import DiskFailed

if TYPE_CHECKING:
    import aiohttp

_AT_ONCE = 1 << 20
_WHOLE, _PART, _NO_SUCH_PART = 200, 206, 416
_RANGE = re.compile(r"bytes (\d+)-\d+/\d+")
_SHA256 = re.compile(r'"([0-9a-f]{64})"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A file that is here; `resumed_at` bytes of it were here before."""

    path: Path
    file_id: str
    bytes: int
    sha256: str
    resumed_at: int

    def to_wire(self) -> dict[str, object]:
        """Return a JSON-ready dict."""
        return {
            "path": str(self.path),
            "file_id": self.file_id,
            "bytes": self.bytes,
            "sha256": self.sha256,
            "resumed_at": self.resumed_at,
        }


async def fetch(gateway: Gateway, file_id: str, target: Path, tell: Tell) -> Fetched:
    """Put a file of the gateway at `target`; what an earlier try got is not fetched again."""
    return await Download(gateway, file_id, target, tell).run()


class Download:
    """One file on its way: beside `target`, under a hidden name, until it is whole."""

    def __init__(self, gateway: Gateway, file_id: str, target: Path, tell: Tell) -> None:
        self._gateway = gateway
        self._file_id = file_id
        self._path = f"files/{quote(file_id, safe='')}"
        self._target = target
        self._part = target.with_name(f".{target.name}.{file_id}.part")
        self._tell = tell
        self._size = 0
        self._told_sum: str | None = None

    async def run(self) -> Fetched:
        """Return what is there when it is whole, or raise a `ClientError` or `DiskFailed`."""
        found = await self._gateway.json(Ask(method="GET", path=self._path))
        self._size = _length(found.get("bytes"))
        resumed_at = here = self._here()
        while here < self._size or self._told_sum is None:
            # A cut that came after some bytes is no reason to lose patience.
            here = await self._gateway.patience.until_answered(self._more)
        return await self._whole(resumed_at)

    async def _more(self) -> int:
        """Get what is missing, and return how many bytes are here; `NoAnswer` if none came."""
        before = self._here()
        # Of a part that is whole already the last byte is asked for: with it comes the sum.
        begin = min(before, max(self._size - 1, 0))
        wanted = {"Range": f"bytes={begin}-"} if begin else {}
        ask = Ask(method="GET", path=f"{self._path}/content", headers=wanted)
        try:
            async with self._gateway.answered(ask) as response:
                await self._take(response, begin)
        except Refused as refused:
            if refused.status != _NO_SUCH_PART:
                raise
            self._forget()
            raise NoAnswer("the part that is here does not fit") from refused
        except NoAnswer:
            if self._here() <= before:
                raise
        return self._here()

    async def _take(self, response: aiohttp.ClientResponse, asked: int) -> None:
        """Write what comes, from the byte on that was asked for, or anew."""
        begins = _begin(response)
        if begins not in (0, asked):
            raise NotAsTold(f"byte {asked} was asked for, and {begins} came")
        told = _SHA256.fullmatch(response.headers.get("ETag", ""))
        self._told_sum = told[1] if told else ""
        with self._opened() as descriptor:
            await asyncio.to_thread(os.ftruncate, descriptor, begins)
            async for block in response.content.iter_chunked(_AT_ONCE):
                with self._disk():
                    await asyncio.to_thread(_write, descriptor, begins, block)
                begins += len(block)
                self._tell(begins, self._size)

    async def _whole(self, resumed_at: int) -> Fetched:
        """Check what is here, and give it its name."""
        with self._disk():
            size, found = await asyncio.to_thread(_sum, self._part)
        if size != self._size or self._told_sum not in ("", found):
            self._forget()
            raise NotAsTold(
                f"{self._target.name} is not what the gateway has: {size} of {self._size} bytes, "
                f"SHA-256 {found}. It was removed; try again."
            )
        with self._disk():
            await asyncio.to_thread(whole_file.put, self._part, self._target)
        return Fetched(
            path=self._target,
            file_id=self._file_id,
            bytes=size,
            sha256=found,
            resumed_at=resumed_at,
        )

    @contextmanager
    def _opened(self) -> Iterator[int]:
        with self._disk():
            descriptor = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _here(self) -> int:
        with self._disk():
            try:
                return self._part.stat().st_size
            except FileNotFoundError:
                return 0

    def _forget(self) -> None:
        with self._disk():
            self._part.unlink(missing_ok=True)

    @contextmanager
    def _disk(self) -> Iterator[None]:
        """Tell troubles of this machine's disk from those of the network."""
        try:
            yield
        except OSError as error:
            raise DiskFailed(f"{self._target}: {error.strerror}") from error


def _begin(response: aiohttp.ClientResponse) -> int:
    if response.status != _PART:
        return 0
    found = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
    return int(found[1]) if found else -1


def _length(value: object) -> int:
    if not isinstance(value, int) or value < 0:
        raise NotAsTold("the gateway does not say how large the file is")
    return value


def _write(descriptor: int, offset: int, block: bytes) -> None:
    while block:
        written = os.pwrite(descriptor, block, offset)
        offset, block = offset + written, block[written:]


def _sum(path: Path) -> tuple[int, str]:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
        return file.tell(), found
