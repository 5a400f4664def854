"""Several processes that count together: each is a program of its own, as under `--workers`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from resource_server.adapters.metrics.files import GONE_AFTER_S, REMOVED_AFTER_S
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
RECORD = {
    "method": "GET", "path": "/", "route": "/health", "status": 200, "duration_ms": 1.0,
    "operation": "chat/completions",
}
for line in sys.stdin:
    if line == "request\\n":
        observer.begin([]).end(RECORD)
    files.show_life()
    page = asyncio.run(metrics.page("text/plain"))
    print(json.dumps(page.content.decode()), flush=True)
"""

#: A process whose files may grow once, and which counts more series than they hold.
CROWDED = """
import resource, sys
from pathlib import Path
from resource_server.adapters.metrics import files
resource.setrlimit(resource.RLIMIT_FSIZE, (128 * 1024, 128 * 1024))
files.share(Path(sys.argv[1]))
from resource_server.adapters.metrics.instrumentation import Instrumentation
observer = Instrumentation().observer()
for turn in range(2):
    for n in range(2000):
        record = {"method": "GET", "route": f"/{n}", "status": 200, "duration_ms": 1.0}
        observer.begin([]).end(record)
print("counted")
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


def test_what_many_dead_processes_counted_is_one_file_of_each_kind(programs, tmp_path):
    one, other = programs
    one.tell("request")
    other.tell("show")
    for _ in range(2):
        with running(tmp_path, 5) as short_lived:
            short_lived.tell("request")
        age(tmp_path, short_lived, REMOVED_AFTER_S)
        with running(tmp_path, 6) as next_one:
            next_one.tell("request")
        age(tmp_path, next_one, REMOVED_AFTER_S)
        # On a slow machine all this takes longer than a process may be silent.
        other.tell("show")
    # Whoever starts puts it together.
    with running(tmp_path, 0) as last:
        page = last.tell("request")
    pids = {one.process.pid, other.process.pid, last.process.pid}
    owners = {file.stem.rpartition("_")[2].rpartition("-")[2] for file in tmp_path.glob("*.db")}
    assert owners == {"ended", *map(str, pids)}
    assert page.value("hotnode_http_requests_total", route="/health") == 6
    assert page.value("hotnode_globus_queue", client="c") == 7
    assert page.value("hotnode_request_seconds_count", hop="total") == 6
    assert page.value("hotnode_request_seconds_bucket", hop="total", le="1.0") == 6


def age(directory: Path, dead: Program, seconds: float) -> None:
    """Have it be dead for so long."""
    for file in directory.glob(f"*-{dead.process.pid}.db"):
        then = file.stat().st_mtime - seconds
        os.utime(file, (then, then))


def test_who_has_just_begun_is_somebody(tmp_path):
    """It has no numbers yet; what the directory holds may be of one that began with it."""
    program = (
        "import sys; from pathlib import Path; from resource_server.adapters.metrics import files; "
        "files.share(Path(sys.argv[1]))"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, timeout=60)  # noqa: S603 - a program of ours
    others = tmp_path / "counter_other-1.db"
    others.write_bytes(bytes(16))
    then = time.time() - GONE_AFTER_S - 1
    os.utime(others, (then, then))
    with running(tmp_path, 3) as second:
        second.tell("show")
        assert others.exists()


def test_on_a_disk_without_room_counting_goes_on(tmp_path):
    """The library would end the process, or fail the request."""
    ended = subprocess.run(  # noqa: S603 - a program of ours
        [sys.executable, "-c", CROWDED, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-1] == "counted"
    assert ended.stdout.count("metrics_left_out") == 1
    with running(tmp_path, 3) as other:
        counted = list(other.tell("show").series("hotnode_http_requests_total"))
        assert 100 < len(counted) < 2000
        assert {value for _, value in counted} == {2}


def test_the_first_process_of_a_gateway_begins_at_nought(tmp_path):
    with running(tmp_path, 3) as first:
        first.tell("request")
    for file in tmp_path.glob("*.db"):
        os.utime(file, (0, 0))
    with running(tmp_path, 3) as second:
        assert second.tell("show").value("hotnode_http_requests_total", route="/health") == 0
