"""Each form of the log, as a process of its own writes it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import logging, structlog
from resource_server.adapters import log
log.configure("{form}")
structlog.contextvars.bind_contextvars(request_id="req_1")
structlog.get_logger().info("ours", path=__import__("pathlib").Path("/x"), user="é")
logging.getLogger("library").warning("theirs %s", 7, extra={{"answer": 42}})
logging.getLogger("pika").info("noise")
def fail(token):
    raise ValueError("broken")
try:
    fail("hush-hush")
except ValueError:
    structlog.get_logger().exception("failed")
"""


def run(form: str, program: str = PROGRAM) -> str:
    finished = subprocess.run(  # noqa: S603
        [sys.executable, "-c", program.format(form=form)],
        capture_output=True,
        check=True,
        text=True,
        timeout=60,
    )
    assert finished.stdout == ""
    return finished.stderr


@pytest.mark.parametrize("form", ["json", "auto"])
def test_machines_get_one_json_object_a_line(form):
    events = [json.loads(line) for line in run(form).splitlines()]
    assert [event["event"] for event in events] == ["ours", "theirs 7", "failed"]
    ours, theirs, failed = events
    assert (ours["level"], ours["request_id"], ours["user"]) == ("info", "req_1", "é")
    assert (theirs["answer"], theirs["request_id"]) == (42, "req_1")
    assert "ValueError: broken" in failed["exception"]


def test_people_get_text():
    text = run("text")
    assert "ours" in text
    assert "noise" not in text


@pytest.mark.parametrize("form", ["json", "text"])
def test_no_traceback_shows_local_variables(form):
    assert "broken" in run(form)
    assert "hush-hush" not in run(form).replace('fail("hush-hush")', "")


SURVIVOR = """
import logging, structlog
from resource_server.adapters import log
log.configure("{form}")
for number in range(2000):
    structlog.get_logger().info("ours", text="x" * 100)
    logging.getLogger("library").warning("theirs")
print("served")
"""


def survivor(form: str, stderr: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603
        [sys.executable, "-c", SURVIVOR.format(form=form)],
        stdout=subprocess.PIPE,
        stderr=stderr,
        check=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_full_disk_stops_nobody(form):
    with Path("/dev/full").open("wb") as full:
        assert survivor(form, full.fileno()).stdout == "served\n"


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_collector_that_went_away_stops_nobody(form):
    reader, writer = os.pipe()
    os.close(reader)
    try:
        assert survivor(form, writer).stdout == "served\n"
    finally:
        os.close(writer)


def test_a_pipe_that_does_not_block_and_is_full_stops_nobody():
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        assert survivor("json", writer).stdout == "served\n"
    finally:
        os.close(reader)
        os.close(writer)


UNSPEAKABLE = """
import logging, structlog
from resource_server.adapters import log
log.configure("{form}")
structlog.get_logger().info("ours", half="\\ud800", path=__import__("pathlib").Path("/x"))
logging.getLogger("library").warning("theirs %s", "\\ud800")
"""


@pytest.mark.parametrize("form", ["json", "text"])
def test_half_a_surrogate_pair_is_escaped(form):
    lines = run(form, UNSPEAKABLE).splitlines()
    assert len(lines) == 2
    assert all("\\ud800" in line for line in lines)
    assert "/x" in lines[0]
