"""The agent's log, written by a thread: its file stands on the shared disk, which may hang."""

from __future__ import annotations

import logging
import logging.handlers
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from typing_extensions import override

#: So many lines wait for the disk; those beyond are left out, and counted.
MOST_WAITING = 10_000
#: At the end of the process the last lines have so long (seconds).
LAST_WORDS_S = 5.0


class _Aside(logging.handlers.QueueHandler):
    """Takes a record at once, whatever becomes of it."""

    def __init__(self, waiting: queue.Queue[logging.LogRecord | None]) -> None:
        super().__init__(waiting)
        self.left_out = 0

    @override
    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            self.left_out += 1


@contextmanager
def written_by(
    handler: logging.Handler, *, most: int = MOST_WAITING, last_words_s: float = LAST_WORDS_S
) -> Iterator[logging.Handler]:
    """Lend a handler that never waits; what it takes `handler` writes, in a thread.

    At the end what is left is written, unless that takes too long.
    """
    waiting: queue.Queue[logging.LogRecord | None] = queue.Queue(most)
    aside = _Aside(waiting)

    def write() -> None:
        while (record := waiting.get()) is not None:
            handler.handle(record)
            if aside.left_out:
                count, aside.left_out = aside.left_out, 0
                handler.handle(_left_out(count))

    thread = threading.Thread(target=write, name="log", daemon=True)
    thread.start()
    try:
        yield aside
    finally:
        _end(waiting, last_words_s)
        thread.join(last_words_s)


def _end(waiting: queue.Queue[logging.LogRecord | None], within_s: float) -> None:
    try:
        waiting.put(None, timeout=within_s)
    except queue.Full:
        # The disk hangs: a line gives way to the end.
        with suppress(queue.Empty, queue.Full):
            waiting.get_nowait()
            waiting.put_nowait(None)


def _left_out(count: int) -> logging.LogRecord:
    values = {"name": "hotnode.site_agent", "levelno": logging.WARNING, "levelname": "WARNING"}
    return logging.makeLogRecord({**values, "msg": f"log_lines_left_out count={count}"})
