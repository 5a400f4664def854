"""How events reach the log: as JSON lines for machines, as text for a person at a terminal."""

from __future__ import annotations

import json
import logging
import sys
import threading
from io import FileIO
from typing import Any

import msgspec
import structlog


class LogFile:
    """Writes whole lines to standard error, for structlog and for `logging` alike.

    What cannot be written is lost: a full disk or a collector that went away must not make
    requests fail, and there is no place left to complain to. Nothing is kept for later, so the
    next line comes out whole as soon as lines can be written again.
    """

    def __init__(self) -> None:
        self._file = FileIO(sys.stderr.fileno(), "wb", closefd=False)
        self._encoding = sys.stderr.encoding
        self._lock = threading.Lock()

    def msg(self, line: str | bytes) -> None:
        """Write a line."""
        encoded = line.encode(self._encoding, "backslashreplace") if isinstance(line, str) else line
        self._write(encoded + b"\n")

    debug = info = warning = error = critical = exception = msg

    def write(self, text: str) -> None:
        """Write text, as the stream of a `logging.StreamHandler`."""
        self._write(text.encode(self._encoding, "backslashreplace"))

    def flush(self) -> None:
        """Do nothing: nothing is buffered."""

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        with self._lock:
            try:
                while rest:
                    # None: it does not block, and has no room.
                    written = self._file.write(rest)
                    if written is None:
                        return
                    rest = rest[written:]
            except OSError:
                return  # see the class


def configure(form: str) -> None:
    """Send every event of this process to standard error; `form` is auto, json or text.

    Our own events go there straight: through `logging` each would cost a request 90 µs more.
    Events of libraries, which use `logging`, take the same form.
    """
    as_text = form == "text" or (form == "auto" and sys.stderr.isatty())
    file = LogFile()
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.format_exc_info, _renderer(as_text=as_text)],
        logger_factory=lambda *_: file,
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=True,
    )
    _configure_libraries(shared, file, as_text=as_text)


def _renderer(*, as_text: bool) -> structlog.typing.Processor:
    if as_text:
        # Never with local variables: tokens are among them.
        return structlog.dev.ConsoleRenderer(
            exception_formatter=structlog.dev.plain_traceback, colors=sys.stderr.isatty()
        )
    return structlog.processors.JSONRenderer(serializer=_json)


def _json(event: dict[str, Any], **_: object) -> bytes:
    try:
        return msgspec.json.encode(event, enc_hook=repr)
    except UnicodeEncodeError:
        # Half of a surrogate pair, as `\ud800`, is no character; the slower way escapes it.
        return json.dumps(event, default=repr).encode("ascii")


def _configure_libraries(
    shared: list[structlog.typing.Processor], file: LogFile, *, as_text: bool
) -> None:
    renderer = (
        _renderer(as_text=True) if as_text else structlog.processors.JSONRenderer(default=repr)
    )
    handler = logging.StreamHandler(file)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                *shared,
                structlog.stdlib.ExtraAdder(),
                structlog.processors.format_exc_info,
            ],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    # Their lines at this level say what our own events already say.
    for noisy in ("pika", "uvicorn.access", "globus_sdk", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # While PostgreSQL is away it would warn of each attempt; what that means we say ourselves.
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
