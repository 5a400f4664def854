"""One file while it is uploaded: written under a name of its own, its sum counted as it comes."""

from __future__ import annotations

import hashlib
import os
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

from compute_functions.contract.batches import FileSum
from resource_server.adapters.stored_files.folder import UPLOAD, FilesFolder
from resource_server.domain import files


class UploadedFile:
    """A file that grows. It blocks, and is entered; left without `keep`, nothing stays of it.

    It may be left while another thread writes for somebody who does not wait any more.
    """

    def __init__(self, folder: FilesFolder, file_id: str, *, most_bytes: int) -> None:
        self._folder = folder
        self._id = file_id
        self._most_bytes = most_bytes
        self._part = folder.incoming(file_id, UPLOAD)
        self._hash = hashlib.sha256()
        self._bytes = 0
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self._folder.require_room()
        number = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._file = os.fdopen(number, "wb", buffering=0)
        return self

    def add(self, content: bytes) -> None:
        """Write what comes next; raises `PayloadTooLarge` past the limit."""
        self._bytes += len(content)
        if self._bytes > self._most_bytes:
            raise files.too_large(self._most_bytes)
        # Each time: many uploads at once would use up the reserve between two looks.
        self._folder.require_room(len(content))
        with self._lock:
            if not self._file.closed:
                _write(self._file.fileno(), content)
                self._hash.update(content)

    def keep(self) -> FileSum:
        """Make it a whole file, on the disk when this returns."""
        with self._lock:
            os.fsync(self._file.fileno())
            self._folder.keep(self._id, self._part)
        return FileSum(bytes=self._bytes, sha256=self._hash.hexdigest())

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._lock:
            self._file.close()
            with suppress(FileNotFoundError):
                self._part.unlink()


def _write(number: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(number, view) :]
