"""Each form of the log, as a process of its own writes it."""

from __future__ import annotations

import json
import subprocess
import sys

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


def run(form: str) -> str:
    finished = subprocess.run(  # noqa: S603
        [sys.executable, "-c", PROGRAM.format(form=form)],
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
