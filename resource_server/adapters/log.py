"""How events reach the log: as JSON lines for machines, as text for a person at a terminal."""

from __future__ import annotations

import logging
import sys
from typing import Any

import msgspec
import structlog


def configure(form: str) -> None:
    """Send every event of this process to standard error; `form` is auto, json or text.

    Our own events go there straight: through `logging` each would cost a request 90 µs more.
    Events of libraries, which use `logging`, take the same form.
    """
    as_text = form == "text" or (form == "auto" and sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.format_exc_info, _renderer(as_text=as_text)],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr)
        if as_text
        else structlog.BytesLoggerFactory(sys.stderr.buffer),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=True,
    )
    _configure_libraries(shared, as_text=as_text)


def _renderer(*, as_text: bool) -> structlog.typing.Processor:
    if as_text:
        # Never with local variables: tokens are among them.
        return structlog.dev.ConsoleRenderer(
            exception_formatter=structlog.dev.plain_traceback, colors=sys.stderr.isatty()
        )
    return structlog.processors.JSONRenderer(serializer=_json)


def _json(event: dict[str, Any], **_: object) -> bytes:
    return msgspec.json.encode(event, enc_hook=repr)


def _configure_libraries(shared: list[structlog.typing.Processor], *, as_text: bool) -> None:
    renderer = (
        _renderer(as_text=True) if as_text else structlog.processors.JSONRenderer(default=repr)
    )
    handler = logging.StreamHandler(sys.stderr)
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
