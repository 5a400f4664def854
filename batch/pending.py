"""The lines that are not recorded, read ahead of need, and made into what the engine is asked."""

from __future__ import annotations

import asyncio
import json
import random
from collections import deque
from dataclasses import dataclass, field, replace

from batch import errors
from batch.disk_thread import DiskThread
from batch.input_file import InputFile
from batch.journal.recorded import Recorded
from batch.line_error import LineError
from batch.line_index import LineIndex
from batch.rules import SALTED

#: So many lines are read at once, or so many bytes.
_BLOCK, _BLOCK_BYTES = 512, 2 * 1024**2
#: So often a line is drawn among those that were not read, of which many may be recorded.
_DRAWS = 64
#: Made once: `json.dumps` makes an encoder for each call.
_pack = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A line, ready to be sent."""

    number: int
    custom_id: str
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What a body gets before it is sent: the engine's own name of the model, a priority.

    With a `cache_salt` the engine keeps what it remembers of these prompts apart from others'.
    """

    model: str | None = None
    priority: int | None = None
    cache_salt: str | None = field(default=None, repr=False)

    def at(self, endpoint: str) -> Changes:
        """Return what lines of this endpoint get."""
        return self if endpoint in SALTED else replace(self, cache_salt=None)

    def prepare(self, number: int, content: bytes) -> Prepared:
        """Return what to ask for a line of the input, which was validated before."""
        try:
            values = json.loads(content)
            custom_id, body = values["custom_id"], values["body"]
            if self.model is not None:
                body["model"] = self.model
            if self.priority is not None:
                body["priority"] = self.priority
            if self.cache_salt is not None:
                body["cache_salt"] = self.cache_salt
        except (ValueError, KeyError, TypeError) as error:
            raise changed(number) from error
        packed = _pack(body).encode()
        return Prepared(number=number, custom_id=custom_id, body=packed)


class PendingLines:
    """Lines of the input by number: those pending in their order, and any one again."""

    def __init__(
        self, *, file: InputFile, index: LineIndex, recorded: Recorded, disk: DiskThread
    ) -> None:
        self._file = file
        self._index = index
        self._recorded = recorded
        #: The next line to be read, and those after it that were given by `any`, or are asked for
        #: again: those that were lost before.
        self._at = 1
        self._given: set[int] = set(recorded.losses)
        self._disk = disk
        self._ready: deque[tuple[int, bytes]] = deque()
        self._ahead: asyncio.Task[list[tuple[int, bytes]]] | None = None
        self._exhausted = False

    @property
    def exhausted(self) -> bool:
        """Whether `next` has given all."""
        return self._exhausted and not self._ready

    async def next(self) -> tuple[int, bytes] | None:
        """Return the next pending line, or None after the last."""
        if not self._ready and not self._exhausted:
            self._ready.extend(await (self._ahead or self._read_ahead()))
            self._ahead = None
            self._exhausted = not self._ready
        if len(self._ready) < _BLOCK // 2 and self._ahead is None and not self._exhausted:
            self._ahead = self._read_ahead()
        return self._ready.popleft() if self._ready else None

    async def any(self) -> tuple[int, bytes] | None:
        """Return some pending line that was not given, wherever it stands; None after the last."""
        found = await self._disk.do(self._by_chance)
        if found is None and self._ready:
            self._ready.rotate(random.randrange(len(self._ready)))  # noqa: S311 - see `_by_chance`
        return found or await self.next()

    async def again(self, number: int) -> tuple[int, bytes]:
        """Return one line, whatever became of it."""
        return await self._disk.do(lambda: (number, self.read(number)))

    def read(self, number: int) -> bytes:
        """Return one line's bytes. Blocks."""
        return self._file.line_at(*self._index.place(number))

    async def close(self) -> None:
        """Forget what was read ahead."""
        if self._ahead is not None:
            self._ahead.cancel()
            await asyncio.wait({self._ahead})

    def _read_ahead(self) -> asyncio.Task[list[tuple[int, bytes]]]:
        return asyncio.create_task(self._disk.do(self._block))

    def _block(self) -> list[tuple[int, bytes]]:
        block: list[tuple[int, bytes]] = []
        size = 0
        while self._at <= self._recorded.total and len(block) < _BLOCK and size < _BLOCK_BYTES:
            number, self._at = self._at, self._at + 1
            if self._is_pending(number):
                content = self.read(number)
                block.append((number, content))
                size += len(content)
        return block

    def _by_chance(self) -> tuple[int, bytes] | None:
        """Return one of the lines that were not read yet, if a few draws find one."""
        left = range(self._at, self._recorded.total + 1)
        for _ in range(_DRAWS if left else 0):
            number = random.choice(left)  # noqa: S311 - only spreads the lines that are asked
            if self._is_pending(number):
                self._given.add(number)
                return number, self.read(number)
        return None

    def _is_pending(self, number: int) -> bool:
        return not self._recorded.has(number) and number not in self._given


def changed(number: int | None = None) -> errors.InputRefused:
    """Return the error of an input that is not the one that was validated."""
    return errors.InputRefused(
        LineError(code="input_changed", message="the input is not what it was", line=number)
    )
