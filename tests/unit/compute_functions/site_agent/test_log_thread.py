"""The agent's log on a disk that hangs: whoever logs does not wait, and what can be is written."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from typing_extensions import override

from compute_functions.site_agent import log_thread


class HandlerThatHangs(logging.Handler):
    """Writes nothing until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
        self.let_go = threading.Event()
        self.hangs = threading.Event()
        self.written: list[str] = []

    @override
    def emit(self, record: logging.LogRecord) -> None:
        self.hangs.set()
        assert self.let_go.wait(20)
        self.written.append(self.format(record))


@pytest.fixture
def handler() -> Iterator[HandlerThatHangs]:
    made = HandlerThatHangs()
    yield made
    made.let_go.set()
    made.close()


@contextmanager
def logger(
    handler: logging.Handler, *, most: int = 10, last_words_s: float = 20.0
) -> Iterator[logging.Logger]:
    made = logging.getLogger(__name__)
    made.propagate = False
    made.setLevel(logging.INFO)
    with log_thread.written_by(handler, most=most, last_words_s=last_words_s) as aside:
        made.addHandler(aside)
        try:
            yield made
        finally:
            made.removeHandler(aside)
            aside.close()


def fail() -> None:
    raise ValueError("why")


def test_all_that_was_logged_is_written_in_its_order_with_tracebacks(
    handler: HandlerThatHangs,
) -> None:
    with logger(handler) as log:
        log.info("a=%d", 1)
        try:
            fail()
        except ValueError:
            log.exception("b")
        handler.let_go.set()
    first, second = handler.written
    assert first == "INFO a=1"
    assert second.startswith("ERROR b\nTraceback")
    assert second.endswith("ValueError: why")


def test_who_logs_does_not_wait_and_what_was_too_much_is_counted(
    handler: HandlerThatHangs,
) -> None:
    with logger(handler, most=2) as log:
        log.info("0")
        assert handler.hangs.wait(20)
        for number in range(1, 6):
            log.info("%d", number)
        handler.let_go.set()
    left_out = "WARNING log_lines_left_out count=3"
    assert handler.written == ["INFO 0", left_out, "INFO 1", "INFO 2"]


def test_the_end_of_the_process_waits_for_no_disk(handler: HandlerThatHangs) -> None:
    with logger(handler, most=1, last_words_s=0.05) as log:
        log.info("0")
        assert handler.hangs.wait(20)
        log.info("1")
    assert handler.written == []
