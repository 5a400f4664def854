"""The seams of files and batches: their rows, the bytes on the disk, and who watches."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection
from typing import Protocol

from compute_functions.contract.batches import FileSum
from resource_server.domain.batches import EVERY_BATCH, Batch, BatchFilter
from resource_server.domain.files import FileRules, Purpose, StoredFile
from resource_server.domain.paging import Page, Paging


class StoredBytes(Protocol):
    """The bytes of files on a disk that all processes share, by the files' ids.

    Every method may raise `FilesUnavailable`.
    """

    async def write(
        self, file_id: str, content: AsyncIterator[bytes], *, most_bytes: int
    ) -> FileSum:
        """Store a file whole, or not at all; raises `PayloadTooLarge` past `most_bytes`."""

    def read(self, file_id: str, *, offset: int = 0) -> AsyncGenerator[bytes, None]:
        """Yield a file's bytes from there on."""

    async def piece(self, file_id: str, offset: int, length: int) -> bytes:
        """Return at most so many of its bytes; fewer come only where it ends."""

    async def exists(self, file_id: str) -> bool:
        """Tell whether it is there."""

    async def remove(self, file_id: str) -> None:
        """Remove it, if it is there."""

    async def arrived(self, file_id: str) -> int:
        """Return how many bytes have come of a file that is fetched in pieces."""

    async def put(self, file_id: str, offset: int, content: bytes) -> None:
        """Write a piece of such a file, at its place: who writes it twice changes nothing."""

    async def finish(self, file_id: str, expected: FileSum) -> bool:
        """Make it a file like any other if its sum is right; else begin anew, and return False."""

    async def sweep(self, known: Callable[[Collection[str]], Awaitable[Collection[str]]]) -> int:
        """Remove what was left by crashes, as old and of no known id; return how many files."""


class BatchObserver(Protocol):
    """Who is told of batches, for metrics. No method fails or waits."""

    def live(self, cluster: str, batches: Collection[Batch]) -> None:
        """Take all of a cluster's batches of which something is left to do."""

    def changed(self, before: Batch, after: Batch) -> None:
        """Take what has become of one."""


class FileTable(Protocol):
    """The rows of files. `owners` are a person's identities: who has none of them sees no file."""

    async def add(self, file: StoredFile, owners: Collection[str], rules: FileRules) -> None:
        """Add a file, or raise `FileQuotaExceeded`."""

    async def room(self, owners: Collection[str], rules: FileRules, *, adding: int) -> None:
        """Raise `FileQuotaExceeded` unless so many bytes may be added now."""

    async def page(
        self, owners: Collection[str], paging: Paging, purpose: Purpose | None = None
    ) -> Page[StoredFile]:
        """Return some of a person's files, or raise `InvalidRequest` for an unknown `after`."""

    async def get(self, owners: Collection[str], file_id: str) -> StoredFile:
        """Return a file, or raise `StoredFileNotFound`."""

    async def delete(self, owners: Collection[str], file_id: str) -> None:
        """Have a file gone for everybody at once, or raise `StoredFileNotFound`."""

    async def discard(self, file_id: str) -> None:
        """Remove the row of a file whose bytes never came to stay."""

    async def unwanted(self) -> Collection[str]:
        """Return the ids of deleted and expired files, without those that batches still need."""

    async def forget(self, file_ids: Collection[str], fence: int) -> None:
        """Remove rows whose bytes are gone."""

    async def known(self, file_ids: Collection[str]) -> Collection[str]:
        """Return which of these ids have rows."""


class BatchTable(Protocol):
    """The rows of batches, seen by people (`owners`, as above) and by the active controller."""

    async def add(
        self,
        batch: Batch,
        owners: Collection[str],
        *,
        most_active: int,
        key: str | None,
        digest: str,
    ) -> Batch:
        """Add a batch, or return the one that was asked for before with the same key.

        Raises `TooManyBatches`, `IdempotencyKeyReused`.
        """

    async def made(self, owners: Collection[str], key: str | None, digest: str) -> Batch | None:
        """Return the batch that was asked for before with this key, if there is one."""

    async def page(
        self, owners: Collection[str], paging: Paging, wanted: BatchFilter = EVERY_BATCH
    ) -> Page[Batch]:
        """Return some of a person's batches.

        Raises `InvalidRequest` for an unknown `after`. That may be one that is not `wanted`: its
        status may have changed since it was the last of a page.
        """

    async def get(self, owners: Collection[str], batch_id: str) -> Batch:
        """Return a batch, or raise `BatchNotFound`."""

    async def cancel(self, owners: Collection[str], batch_id: str, *, now: float) -> Batch:
        """Note that somebody wants it cancelled; raises `BatchNotFound`, `BatchOver`."""

    async def clusters(self) -> Collection[str]:
        """Return the clusters that have batches of which something is left to do."""

    async def urgent(self, fence: int) -> Collection[str]:
        """Return the clusters whose batches people have made or cancelled since the last call."""

    async def live(self, cluster: str) -> Collection[Batch]:
        """Return a cluster's batches of which something is left to do, the oldest first."""

    async def save(self, batch: Batch, fence: int, files: Collection[StoredFile] = ()) -> bool:
        """Write a batch, and the files that it left; False if it has changed since it was read."""


class OldBatches(Protocol):
    """What is removed of people who have had batches, a little at a time, by the controller."""

    async def forget(self, ended_before: float, fence: int) -> int:
        """Remove some batches of which nothing is left, neither here nor there; return how many.

        `ended_before` is in seconds since the epoch.
        """

    async def forget_holders(self, fence: int) -> int:
        """Remove some of the people who have neither batches nor files; return how many."""
