"""Files that people store for batches: create, list, read, delete."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass

from resource_server.batch_ports import FileTable, StoredBytes
from resource_server.domain import errors, files
from resource_server.domain.files import FileRules, Purpose, StoredFile, Upload
from resource_server.domain.identity import Person
from resource_server.domain.paging import Page, Paging


@dataclass(frozen=True, slots=True, kw_only=True)
class FileContent:
    """A file and its bytes, from some byte on."""

    file: StoredFile
    content: AsyncGenerator[bytes, None]


class Files:
    """Everybody's own files; another's reads as absent.

    What is deleted or has expired is gone for its owner at once. The controller removes its bytes
    as soon as no active batch needs them: as at OpenAI, deleting an input harms no batch.
    """

    def __init__(
        self,
        table: FileTable,
        disk: StoredBytes,
        *,
        rules: FileRules,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._table = table
        self._disk = disk
        self._clock = clock
        self.rules = rules

    async def create(
        self,
        person: Person,
        upload: Upload,
        content: AsyncIterator[bytes],
        *,
        settled: Callable[[], Upload] | None = None,
    ) -> StoredFile:
        """Store what comes, piece by piece; `files.read_upload` reads what the request says of it.

        A form may say something of its file only after it: then `settled` is asked once all of
        `content` has come, and holds instead of `upload`.
        If `content` raises, or the caller is cancelled, nothing is stored. Raises
        `PayloadTooLarge`, `FileQuotaExceeded`, `FilesUnavailable`.
        """
        files.require_declared(upload, self.rules)
        owners = owners_of(person)
        await self._table.room(owners, self.rules, adding=upload.declared or 0)
        file_id = files.new_file_id()
        written = await self._disk.write(file_id, content, most_bytes=self.rules.most_bytes)
        upload, now = settled() if settled else upload, self._clock()
        keep_s = self.rules.keep_s if upload.expires_after_s is None else upload.expires_after_s
        file = StoredFile(
            id=file_id,
            owner=person.account_id,
            filename=upload.filename,
            purpose=upload.purpose,
            bytes=written.bytes,
            sha256=written.sha256,
            created_at=now,
            expires_at=now + keep_s,
        )
        await self._take(file, owners)
        return file

    async def list(
        self, person: Person, paging: Paging, purpose: Purpose | None = None
    ) -> Page[StoredFile]:
        """Return some of a person's files; `paging.file_paging` reads which."""
        return await self._table.page(owners_of(person), paging, purpose)

    async def get(self, person: Person, file_id: str) -> StoredFile:
        """Return one, or raise `StoredFileNotFound`."""
        self._require_id(file_id)
        return await self._table.get(owners_of(person), file_id)

    async def content(self, person: Person, file_id: str, *, offset: int = 0) -> FileContent:
        """Return its bytes from `offset` on, to be read once; raises `StoredFileNotFound`.

        Who stops before the end closes `content` (`aclose`).
        """
        file = await self.get(person, file_id)
        if not await self._disk.exists(file_id):
            raise errors.FilesUnavailable(
                "The gateway does not find the file's content. The operators must act."
            )
        return FileContent(file=file, content=self._disk.read(file_id, offset=offset))

    async def delete(self, person: Person, file_id: str) -> None:
        """Delete one, or raise `StoredFileNotFound`."""
        self._require_id(file_id)
        await self._table.delete(owners_of(person), file_id)

    def _require_id(self, file_id: str) -> None:
        """Raise `StoredFileNotFound` for what no file is called: databases choke on some of it."""
        if not files.is_file_id(file_id):
            raise files.no_such_file(file_id)

    async def _take(self, file: StoredFile, owners: frozenset[str]) -> None:
        """Make the file known.

        While nobody can tell whether the row came to be, the bytes stay: a sweep removes them if it
        did not.
        """
        try:
            await self._table.add(file, owners, self.rules)
        except errors.FileQuotaExceeded:
            await self._disk.remove(file.id)
            raise
        if not await self._disk.exists(file.id):
            # This process was stopped for so long that a sweep took them for left behind.
            await self._table.discard(file.id)
            raise errors.FilesUnavailable


def owners_of(person: Person) -> frozenset[str]:
    """Return under which ids somebody's files and batches may stand.

    The account's id is one of its identities', and may be another one once more are linked.
    """
    return frozenset(identity.id for identity in person.identities)
