"""The batch's two result files, made from the journal: OpenAI's lines in the order of the input."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from batch import whole_file
from batch.errors import DiskFailed
from batch.folder import Folder, Manifest
from batch.journal import segment
from batch.journal.record import Answer, Problem, unframe, unpack
from batch.journal.recorded import Place, Recorded
from batch.outcome import FileSum

_AT_ONCE = 1024**2


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembled:
    """What was written. A file without lines is not there, and None here."""

    output: FileSum | None
    error_file: FileSum | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembly:
    """All that the files are made from.

    Lines that never ran get `unfinished` for a problem, and are left out if that is None;
    `custom_id_of` says what such a line is called. `may_write` raises when this runner must not
    change the folder any more.
    """

    folder: Folder
    epoch: int
    manifest: Manifest
    recorded: Recorded
    custom_id_of: Callable[[int], str]
    unfinished: Problem | None
    may_write: Callable[[], None]

    def write(self) -> Assembled:
        """Write both files, sync them, and put them in place. Blocks."""
        with ExitStack() as stack:
            output = stack.enter_context(_SummedFile(self.folder.output, self.epoch))
            failed = stack.enter_context(_SummedFile(self.folder.errors, self.epoch))
            journal = stack.enter_context(_Journal(self.folder.journal))
            for line in self._lines(journal):
                (output if line.problem is None else failed).write(
                    _packed(line, self.manifest.seed)
                )
            output.sync()
            failed.sync()
            self.may_write()
            return Assembled(output=output.publish(), error_file=failed.publish())

    def _lines(self, journal: _Journal) -> Iterator[Answer]:
        for number in range(1, self.recorded.total + 1):
            if self.recorded.has(number):
                yield journal.answer(self.recorded.place(number))
            elif self.unfinished is not None:
                yield Answer(
                    line=number,
                    custom_id=self.custom_id_of(number),
                    status=None,
                    request_id="",
                    problem=self.unfinished,
                )


def line_id(seed: str, number: int) -> str:
    """Return the id of a line's result, the same whoever asks."""
    return f"batch_req_{hashlib.sha256(f'{seed}:{number}'.encode()).hexdigest()[:32]}"


def _packed(answer: Answer, seed: str) -> bytes:
    """Return OpenAI's line. The engine's body goes in as it came."""
    response = b"null"
    if answer.status is not None:
        response = b'{"status_code":%d,"request_id":%b,"body":%b}' % (
            answer.status,
            json.dumps(answer.request_id).encode(),
            answer.body,
        )
    problem = answer.problem
    error = None if problem is None else {"code": problem.code, "message": problem.message}
    return b'{"id":"%b","custom_id":%b,"response":%b,"error":%b}\n' % (
        line_id(seed, answer.line).encode(),
        json.dumps(answer.custom_id).encode(),
        response,
        json.dumps(error).encode(),
    )


class _Journal:
    """The segments, open for reading records here and there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self._open: dict[int, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def answer(self, place: Place) -> Answer:
        """Return the answer that stands at a place, or raise `DiskFailed` if it does no more."""
        content = os.pread(self._descriptor(place.epoch), place.length, place.offset)
        payload = unframe(content)
        record = None if payload is None else unpack(payload)
        if not isinstance(record, Answer):
            # The next runner's replay finds the line pending.
            raise DiskFailed(f"the journal of epoch {place.epoch} was changed on the disk")
        return record

    def _descriptor(self, epoch: int) -> int:
        if epoch not in self._open:
            descriptor = os.open(segment.path_of(self._folder, epoch), os.O_RDONLY)
            self._stack.callback(os.close, descriptor)
            self._open[epoch] = descriptor
        return self._open[epoch]


class _SummedFile:
    """A file that is written under another name, and counted and summed meanwhile."""

    def __init__(self, path: Path, epoch: int) -> None:
        self._path = path
        self._draft = path.with_name(f".{path.name}.{epoch}")
        self._sum = hashlib.sha256()
        self._bytes = self._lines = 0

    def __enter__(self) -> Self:
        self._file = self._draft.open("wb", buffering=_AT_ONCE)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._file.close()
        finally:
            self._draft.unlink(missing_ok=True)

    def write(self, line: bytes) -> None:
        """Append a line."""
        self._file.write(line)
        self._sum.update(line)
        self._bytes += len(line)
        self._lines += 1

    def sync(self) -> None:
        """Return when what was written lasts."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def publish(self) -> FileSum | None:
        """Put the file in its place; without lines, take away what is there."""
        if not self._lines:
            self._path.unlink(missing_ok=True)
            return None
        self._draft.replace(self._path)
        whole_file.sync_folder(self._path.parent)
        return FileSum(bytes=self._bytes, sha256=self._sum.hexdigest(), lines=self._lines)
