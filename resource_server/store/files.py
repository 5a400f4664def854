"""The rows of stored files."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import asdict

from django.db import transaction
from django.db.models import Count, Exists, OuterRef, Q, QuerySet, Sum

from resource_server.domain import errors, files
from resource_server.domain.files import FileRules, Purpose, StoredFile
from resource_server.domain.paging import Page, Paging
from resource_server.store.batch_models import NEEDS_INPUT, BatchRow, FileRow
from resource_server.store.database import in_database, read_database
from resource_server.store.holders import lock_holder
from resource_server.store.lease import require_fence
from resource_server.store.pages import page_of

#: Who found a file just before its end may use it for so long (seconds).
SPARE_S = 60.0
#: As many files are removed in one go.
AT_ONCE = 500


class FileRows:
    """A `batch_ports.FileTable`."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock

    async def add(self, file: StoredFile, owners: Collection[str], rules: FileRules) -> None:
        """Add a file, or raise `FileQuotaExceeded`."""
        await in_database(_add, file, owners, rules)

    async def room(self, owners: Collection[str], rules: FileRules, *, adding: int) -> None:
        """Raise `FileQuotaExceeded` unless so many bytes may be added now."""
        await read_database(_require_room, owners, rules, adding, self._clock())

    async def page(
        self, owners: Collection[str], paging: Paging, purpose: Purpose | None = None
    ) -> Page[StoredFile]:
        """Return some of a person's files."""
        return await read_database(_page, owners, paging, purpose, self._clock())

    async def get(self, owners: Collection[str], file_id: str) -> StoredFile:
        """Return a file, or raise `StoredFileNotFound`."""
        row = await read_database(_visible(owners, self._clock()).filter(file_id=file_id).first)
        if row is None:
            raise files.no_such_file(file_id)
        return stored_file(row)

    async def delete(self, owners: Collection[str], file_id: str) -> None:
        """Have a file gone for everybody at once, or raise `StoredFileNotFound`."""
        if not await in_database(_mark_deleted, owners, file_id, self._clock()):
            raise files.no_such_file(file_id)

    async def discard(self, file_id: str) -> None:
        """Remove the row of a file whose bytes never came to stay."""
        await in_database(FileRow.objects.filter(file_id=file_id).delete)

    async def unwanted(self) -> Collection[str]:
        """Return the ids of deleted and expired files that no active batch needs."""
        return await read_database(_unwanted, self._clock() - SPARE_S)

    async def forget(self, file_ids: Collection[str], fence: int) -> None:
        """Remove rows whose bytes are gone."""
        await in_database(_forget, file_ids, fence)

    async def known(self, file_ids: Collection[str]) -> Collection[str]:
        """Return which of these ids have rows."""
        return await read_database(_known, file_ids)


def file_row(file: StoredFile) -> FileRow:
    """Return a new row for a file."""
    values = asdict(file)
    return FileRow(file_id=values.pop("id"), **values)


def stored_file(row: FileRow) -> StoredFile:
    """Return what a row says."""
    return StoredFile(
        id=row.file_id,
        owner=row.owner,
        filename=row.filename,
        purpose=Purpose(row.purpose),
        bytes=row.bytes,
        sha256=row.sha256,
        created_at=row.created_at,
        expires_at=row.expires_at,
    )


def require_input(owners: Collection[str], file_id: str, *, now: float) -> None:
    """Keep a batch's input from being deleted until the transaction ends, or raise if it is."""
    if _visible(owners, now).select_for_update().filter(file_id=file_id).first() is None:
        message = files.no_such_file(file_id).message
        raise errors.InvalidRequest(message, param="input_file_id")


def _visible(owners: Collection[str], now: float) -> QuerySet[FileRow]:
    lasting = Q(expires_at=None) | Q(expires_at__gt=now)
    return FileRow.objects.filter(lasting, owner__in=owners, deleted=False)


@transaction.atomic
def _add(file: StoredFile, owners: Collection[str], rules: FileRules) -> None:
    lock_holder(file.owner)
    _require_room(owners, rules, file.bytes, file.created_at)
    file_row(file).save(force_insert=True)


def _require_room(owners: Collection[str], rules: FileRules, adding: int, now: float) -> None:
    stored = _visible(owners, now).aggregate(bytes=Sum("bytes"), count=Count("number"))
    files.require_room(
        rules, stored_bytes=stored["bytes"] or 0, stored_count=stored["count"], adding=adding
    )


def _page(
    owners: Collection[str], paging: Paging, purpose: Purpose | None, now: float
) -> Page[StoredFile]:
    rows = _visible(owners, now)
    if purpose is not None:
        rows = rows.filter(purpose=purpose)
    # One that was deleted between two pages still tells where the next one begins.
    begin = FileRow.objects.filter(owner__in=owners, file_id=paging.after)
    return page_of(rows, begin, paging, stored_file)


def _mark_deleted(owners: Collection[str], file_id: str, now: float) -> bool:
    return bool(_visible(owners, now).filter(file_id=file_id).update(deleted=True))


def _unwanted(before: float) -> list[str]:
    needed = BatchRow.objects.filter(NEEDS_INPUT, input_file_id=OuterRef("file_id"))
    spare = FileRow.objects.exclude(Exists(needed)).values_list("file_id", flat=True)
    # Apart, each by its own index: asked for both, SQLite looks at all files there are.
    found = list(spare.filter(deleted=True)[:AT_ONCE])
    expired = spare.filter(deleted=False, expires_at__lte=before)
    return found + list(expired[: AT_ONCE - len(found)])


@transaction.atomic
def _forget(file_ids: Collection[str], fence: int) -> None:
    require_fence(fence)
    FileRow.objects.filter(file_id__in=file_ids).delete()


def _known(file_ids: Collection[str]) -> frozenset[str]:
    return frozenset(FileRow.objects.filter(file_id__in=file_ids).values_list("file_id", flat=True))
