"""A form (`multipart/form-data`) that is read while it comes: field by field, a file in pieces."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace

from resource_server.api.form_part import MAX_HEAD_BYTES, MAX_VALUE_BYTES, FormPart
from resource_server.domain import errors

#: A form with more fields is refused.
MAX_PARTS = 20
#: What may follow a form's last boundary (bytes): no client writes more than a line end.
MAX_REST_BYTES = 1024
_HEAD_END = b"\r\n\r\n"


class FormStream:
    """A form of which `next_part` and then that part's `content` or `text` are asked in turn.

    It holds no more than one piece of what comes. It is as strict as `FormBody`: what parsers read
    in several ways is refused. Every method may raise `InvalidRequest`, and what `pieces` raises.
    """

    def __init__(self, pieces: AsyncIterator[bytes], boundary: bytes) -> None:
        self._pieces = pieces
        self._delimiter = b"\r\n--" + boundary
        # The first boundary is then written as all others are.
        self._held = bytearray(b"\r\n")
        self._parts = 0

    async def next_part(self) -> FormPart | None:
        """Return the head of the next part; None at the end, once all of the body is read."""
        if not self._parts:
            await self._begin()
        mark = await self._taken(2)
        if mark == b"--":
            await self._end()
            return None
        if mark != b"\r\n":
            raise _cut_off()
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise errors.InvalidRequest(f"The form has more than {MAX_PARTS} fields.")
        return FormPart.read(await self._head(), memoryview(b""))

    async def content(self) -> AsyncGenerator[bytes, None]:
        """Yield the content of the part whose head was returned last, to its end."""
        # So many bytes may be the beginning of a boundary.
        doubtful = len(self._delimiter) - 1
        while (end := self._held.find(self._delimiter)) < 0:
            if (certain := len(self._held) - doubtful) > 0:
                yield self._cut(certain)
            await self._more()
        if end:
            yield self._cut(end)
        del self._held[: len(self._delimiter)]

    async def text(self, part: FormPart) -> str:
        """Return the content of a part that is no file."""
        found = bytearray()
        async for piece in self.content():
            found += piece
            if len(found) > MAX_VALUE_BYTES:
                break
        return replace(part, content=bytes(found)).text

    async def _begin(self) -> None:
        if await self._taken(len(self._delimiter)) != self._delimiter:
            raise errors.InvalidRequest("The form does not begin with its boundary.")

    async def _head(self) -> bytes:
        while (length := self._held.find(_HEAD_END)) < 0 and len(self._held) <= MAX_HEAD_BYTES:
            await self._more()
        if not 0 <= length <= MAX_HEAD_BYTES:
            raise errors.InvalidRequest(
                f"A field of the form has headers of more than {MAX_HEAD_BYTES} bytes."
            )
        return self._cut(length + len(_HEAD_END))[:length]

    async def _end(self) -> None:
        """Read what follows the last boundary: a client may only be answered after that."""
        rest = len(self._held)
        async for piece in self._pieces:
            rest += len(piece)
            if rest > MAX_REST_BYTES:
                break
        if rest > MAX_REST_BYTES:
            raise errors.InvalidRequest("The form goes on after its last boundary.")

    async def _taken(self, length: int) -> bytes:
        while len(self._held) < length:
            await self._more()
        return self._cut(length)

    async def _more(self) -> None:
        """Hold one piece more."""
        piece = await anext(self._pieces, None)
        if piece is None:
            raise _cut_off()
        self._held += piece

    def _cut(self, length: int) -> bytes:
        found = bytes(self._held[:length])
        del self._held[:length]
        return found


def _cut_off() -> errors.InvalidRequest:
    return errors.InvalidRequest("The form is cut off, or a boundary in it is no line.")
