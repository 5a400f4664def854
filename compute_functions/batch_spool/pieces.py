"""Files of batches as they come and go, a piece at a time; each piece may come again."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from compute_functions.batch_spool import checking, input_copy, order_file
from compute_functions.batch_spool.folders import BatchFolder, Spool
from compute_functions.contract.batches import (
    MOST_PIECE,
    BatchFile,
    BatchOrder,
    FileSum,
    Piece,
    PieceCall,
)
from compute_functions.errors import BatchRefused

_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Pieces:
    """The files of a spool. Raises `BatchUnknown` and `BatchRefused`."""

    spool: Spool

    def serve(self, call: PieceCall) -> Piece:
        """Put a piece, or give one."""
        folder = self.spool.folder(call.batch)
        order = order_file.read(folder)
        if call.file is BatchFile.INPUT:
            if call.content is None:
                raise BatchRefused("an input is not given back")
            return _put(folder, order, call.offset, call.content)
        if call.content is not None:
            raise BatchRefused("results are not put here")
        return _get(folder, call.file, call.offset)


def _put(folder: BatchFolder, order: BatchOrder, offset: int, content: bytes) -> Piece:
    """Add a piece to the upload if it begins where that ends; say how much there is."""
    if order.upload is None:
        raise BatchRefused("this batch's input is a file of the cluster")
    size = received(folder, order)
    if size == order.upload.bytes:
        # Whoever put the last piece may have died before it was looked at.
        _finish(folder, order, order.upload)
    if size == order.upload.bytes or offset != size or not content:
        return Piece(size=size)
    if offset + len(content) > order.upload.bytes:
        raise BatchRefused(f"the input was to have {order.upload.bytes} bytes, and this is more")
    if not _write(folder.part, content, offset):
        return Piece(size=received(folder, order))
    size = offset + len(content)
    if size == order.upload.bytes:
        _finish(folder, order, order.upload)
    return Piece(size=size)


def _write(path: Path, content: bytes, offset: int) -> bool:
    """Write a piece to its place: of two who put the same one, each does so.

    False if the file is gone meanwhile: it is whole.
    """
    flags = os.O_WRONLY if offset else os.O_WRONLY | os.O_CREAT
    try:
        descriptor = os.open(path, flags, 0o600)
    except FileNotFoundError:
        return False
    view = memoryview(content)
    try:
        while view:
            written = os.pwrite(descriptor, view, offset)
            view, offset = view[written:], offset + written
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return True


def _finish(folder: BatchFolder, order: BatchOrder, wanted: FileSum) -> None:
    """Make the whole upload the batch's input if it is what was sent."""
    if folder.input.exists():
        return
    try:
        if _sha256(folder.part) != wanted.sha256:
            folder.part.unlink(missing_ok=True)
            raise BatchRefused("the input did not arrive as it was sent; send it again")
        input_copy.finish(folder.part, folder)
        folder.part.unlink(missing_ok=True)
    except FileNotFoundError:
        # Another process was here at the same time, and has finished it.
        if not folder.input.exists():
            raise
    checking.check(folder, order)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def received(folder: BatchFolder, order: BatchOrder) -> int:
    """Return how many bytes of an upload are here."""
    if order.upload is None:
        return 0
    # First: a piece that comes very late makes another file of pieces.
    if folder.input.exists():
        return order.upload.bytes
    try:
        return folder.part.stat().st_size
    except FileNotFoundError:
        return order.upload.bytes if folder.input.exists() else 0


def _get(folder: BatchFolder, file: BatchFile, offset: int) -> Piece:
    """Return a piece of a result; a file without lines has no bytes."""
    if not folder.outcome.exists():
        raise BatchRefused(f"the batch {folder.batch} has no results (yet)")
    path = folder.output if file is BatchFile.OUTPUT else folder.error_lines
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return Piece(size=0)
    try:
        size = os.fstat(descriptor).st_size
        return Piece(size=size, content=os.pread(descriptor, MOST_PIECE, offset))
    finally:
        os.close(descriptor)
