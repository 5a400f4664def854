"""The form with which a file is uploaded: `file`, `purpose`, and how long it is to be kept."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator

from resource_server.api.form_part import FormPart
from resource_server.api.form_stream import FormStream
from resource_server.domain import errors, files
from resource_server.domain.files import Upload

FILE, PURPOSE = "file", "purpose"
#: As OpenAI's clients write an object in a form.
EXPIRY = {"expires_after[anchor]": "anchor", "expires_after[seconds]": "seconds"}
#: What a form has besides its file, at most (bytes): boundaries, heads and fields.
OVERHEAD_BYTES = 16_384
_SECONDS = re.compile(r"[0-9]{1,9}")


class UploadForm:
    """A form with one file. Fields may come before and after it: clients differ.

    First `begun`, then `content` to its end, then `upload`.
    """

    def __init__(self, form: FormStream) -> None:
        self._form = form
        self._fields: dict[str, str] = {}
        self._filename: str | None = None

    async def begun(self, declared: int | None) -> Upload:
        """Read up to the file; return what is known of it by then, or raise `InvalidRequest`.

        `declared` is the length of the whole form, as far as the request says it.
        """
        while (part := await self._form.next_part()) is not None:
            if part.name == FILE:
                return self._found(part, declared)
            await self._take(part)
        raise errors.InvalidRequest("The form has no field 'file'.", param=FILE)

    async def content(self) -> AsyncGenerator[bytes, None]:
        """Yield the file; raise `InvalidRequest` if anything is wrong with what follows it."""
        async for piece in self._form.content():
            yield piece
        while (part := await self._form.next_part()) is not None:
            if part.name == FILE:
                raise errors.InvalidRequest("The form has more than one file.", param=FILE)
            await self._take(part)
        self.upload()

    def upload(self) -> Upload:
        """Return what the form says of its file, or raise `InvalidRequest`."""
        return files.read_upload(
            filename=self._filename,
            purpose=self._fields.get(PURPOSE),
            expires_after=self._expires_after(),
        )

    def _found(self, part: FormPart, declared: int | None) -> Upload:
        if part.filename is None:
            raise errors.InvalidRequest(
                "The field 'file' comes without a file name: it is no file.", param=FILE
            )
        self._filename = part.filename
        return files.read_upload(
            filename=part.filename,
            # What a client says only after the file is looked at then.
            purpose=self._fields.get(PURPOSE, files.Purpose.BATCH),
            # No less than this: what else the form has is not known yet.
            declared=None if declared is None else max(0, declared - OVERHEAD_BYTES),
        )

    async def _take(self, part: FormPart) -> None:
        """Read a field; those that nobody here knows are passed over."""
        text = await self._form.text(part)
        if part.name != PURPOSE and part.name not in EXPIRY:
            return
        if part.name in self._fields:
            raise errors.InvalidRequest(f"The form has '{part.name}' twice.", param=part.name)
        self._fields[part.name] = text

    def _expires_after(self) -> dict[str, object] | None:
        found: dict[str, object] = {
            key: _number(self._fields[name]) if key == "seconds" else self._fields[name]
            for name, key in EXPIRY.items()
            if name in self._fields
        }
        return found or None


def _number(text: str) -> int | str:
    """Return a field's number; what is none is refused where numbers are looked at."""
    return int(text) if _SECONDS.fullmatch(text) else text
