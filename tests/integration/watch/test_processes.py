"""Several processes that count together: each is a program of its own, as under `--workers`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from resource_server.adapters.metrics.files import GONE_AFTER_S
from tests.support.watch import Scrape

PROGRAM = """
import asyncio, json, sys
from pathlib import Path
from resource_server.adapters.metrics import files
files.share(Path(sys.argv[1]))
from resource_server.adapters.globus_compute.channel import ChannelHealth
from resource_server.adapters.globus_compute.results import Link
from resource_server.adapters.metrics.instrumentation import Instrumentation
queued = int(sys.argv[2])
instrumentation = Instrumentation()
instrumentation.watch_channels(lambda: [
    ChannelHealth(client="c", link=Link.IDLE, queued=queued, running=0, trouble="")
])
metrics = instrumentation.metrics("token")
observer = instrumentation.observer()
RECORD = {"method": "GET", "path": "/", "route": "/health", "status": 200, "duration_ms": 1.0}
for line in sys.stdin:
    if line == "request\\n":
        observer.begin([]).end(RECORD)
    page = asyncio.run(metrics.page("text/plain"))
    print(json.dumps(page.content.decode()), flush=True)
"""


class Program:
    """One process of a gateway, which does what it is told and then shows the page."""

    def __init__(self, directory: Path, *, queued: int) -> None:
        self.process = subprocess.Popen(  # noqa: S603 - a program of ours
            [sys.executable, "-c", PROGRAM, str(directory), str(queued)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def tell(self, what: str) -> Scrape:
        """Say a line; return the page that it shows then."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{what}\n")
        self.process.stdin.flush()
        return Scrape(json.loads(self.process.stdout.readline()))

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[tuple[Program, Program]]:
    with running(tmp_path, 3) as one, running(tmp_path, 4) as other:
        yield one, other


@contextmanager
def running(directory: Path, queued: int) -> Iterator[Program]:
    with ExitStack() as stack:
        program = Program(directory, queued=queued)
        stack.callback(program.kill)
        yield program


def test_whichever_is_asked_shows_the_sum(programs):
    one, other = programs
    one.tell("request")
    other.tell("request")
    pages = (one.tell("request"), other.tell("show"), one.tell("show"))
    for page in pages:
        assert page.value("hotnode_http_requests_total", route="/health") == 3
        assert page.value("hotnode_globus_queue", client="c") == 7
        assert page.value("hotnode_requests_in_flight") == 0
        assert page.value("hotnode_build_info") == 1


def test_of_one_that_was_killed_only_what_it_counted_stays(programs, tmp_path):
    one, other = programs
    other.tell("request")
    one.tell("request")
    other.kill()
    # As long after its end as it takes to be sure of it.
    for file in tmp_path.glob(f"gauge_*-{other.process.pid}.db"):
        then = file.stat().st_mtime - GONE_AFTER_S
        os.utime(file, (then, then))
    # One that was killed while it began leaves an empty file.
    (tmp_path / "counter_killed-1.db").touch()
    page = one.tell("show")
    assert page.value("hotnode_http_requests_total", route="/health") == 2
    assert page.value("hotnode_globus_queue", client="c") == 3


def test_the_first_process_of_a_gateway_begins_at_nought(tmp_path):
    with running(tmp_path, 3) as first:
        first.tell("request")
    for file in tmp_path.glob("*.db"):
        os.utime(file, (0, 0))
    with running(tmp_path, 3) as second:
        assert second.tell("show").value("hotnode_http_requests_total", route="/health") == 0
