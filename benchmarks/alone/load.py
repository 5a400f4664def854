"""Keeps a fixed number of connections busy, one request each, and prints what it measured."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import time
from functools import partial
from typing import Any, cast

import httptools
import uvloop
from typing_extensions import override

WARM_UP_S = 1.0
#: A server that is slow is measured for longer: until every connection had so many answers.
ANSWERS_EACH = 3
LONGEST_S = 30.0
BODY = json.dumps(
    {
        "model": "model",
        "messages": [
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": "Why is the sky blue? Answer in one paragraph. " * 4},
        ],
        "max_tokens": 256,
        "temperature": 0.2,
    }
).encode()
#: What the OpenAI client for Python sends.
HEAD = """\
POST {path} HTTP/1.1
Host: 127.0.0.1:{port}
Accept-Encoding: gzip, deflate
Connection: keep-alive
Accept: application/json
Content-Type: application/json
User-Agent: OpenAI/Python 3.52.0
X-Stainless-Lang: python
X-Stainless-Package-Version: 3.52.0
X-Stainless-OS: Linux
X-Stainless-Arch: x64
X-Stainless-Runtime: CPython
X-Stainless-Runtime-Version: 3.11.7
Authorization: Bearer {token}
X-Stainless-Async: false
x-stainless-retry-count: 0
x-stainless-read-timeout: 600
Content-Length: {length}

"""


class Load:
    """What all connections share: the request, and the seconds that each answer took.

    `wrong` counts answers in which the expected text is not.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        head = HEAD.format(
            port=options.port, path=options.path, token=options.token, length=len(BODY)
        )
        self.request = head.replace("\n", "\r\n").encode() + BODY
        self.expected: bytes = options.expect.encode()
        self.wrong = 0
        self.latencies: list[float] = []
        self.failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class Connection(asyncio.Protocol):
    """One connection: a request, its answer, the next request."""

    def __init__(self, load: Load) -> None:
        self._load = load

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        self._transport = cast("asyncio.Transport", transport)
        self._ask()

    def _ask(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._body = b""
        self._asked_at = time.perf_counter()
        self._transport.write(self._load.request)

    @override
    def data_received(self, data: bytes) -> None:
        """Parse the answer."""
        self._parser.feed_data(data)

    def on_body(self, data: bytes) -> None:
        """Take a part of the answer."""
        self._body += data

    def on_message_complete(self) -> None:
        """Note how long the answer took, and ask again."""
        self._load.latencies.append(time.perf_counter() - self._asked_at)
        if self._load.expected not in self._body:
            self._load.wrong += 1
        status = self._parser.get_status_code()
        if status != 200 and not self._load.failure.done():  # noqa: PLR2004 - the good one
            said = self._body.decode(errors="replace")
            self._load.failure.set_exception(RuntimeError(f"the server answered {status}: {said}"))
        self._ask()

    @override
    def connection_lost(self, error: Exception | None) -> None:
        """Fail, unless the measurement is over."""
        if not self._load.failure.done():
            self._load.failure.set_exception(ConnectionError("the server closed a connection"))


def cpu_s(pid: int) -> float:
    """Return the CPU seconds that a process has used, in user and kernel mode."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:  # noqa: PTH123 - not a path of ours
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return requests per second, latencies in milliseconds, and the servers' CPU seconds."""
    loop = asyncio.get_running_loop()
    load = Load(options)
    transports = [
        (await loop.create_connection(partial(Connection, load), "127.0.0.1", options.port))[0]
        for _ in range(options.connections)
    ]
    await _fails_or_lasts(load, WARM_UP_S, answers=options.connections)
    load.latencies.clear()
    began, own_before = time.perf_counter(), time.process_time()
    cpu_before = [cpu_s(pid) for pid in options.pid]
    await _fails_or_lasts(load, options.seconds, answers=ANSWERS_EACH * options.connections)
    elapsed, own_used = time.perf_counter() - began, time.process_time() - own_before
    each = [cpu_s(pid) - before for pid, before in zip(options.pid, cpu_before, strict=True)]
    cpu_used = sum(each)
    load.failure.cancel()
    for transport in transports:
        transport.abort()
    latencies = sorted(load.latencies)
    return {
        "rate": len(latencies) / elapsed,
        "p50_ms": 1000 * latencies[len(latencies) // 2],
        "p99_ms": 1000 * latencies[len(latencies) * 99 // 100],
        "count": len(latencies),
        "wrong": load.wrong,
        "cpu_s": cpu_used,
        "cpu_each_s": each,
        "own_cpu_s": own_used,
        "per_cpu_s": len(latencies) / cpu_used,
    }


async def _fails_or_lasts(load: Load, seconds: float, *, answers: int) -> None:
    """Let the load run for so long, and for so many answers; raises if a request fails."""
    ends_at = time.perf_counter() + LONGEST_S
    while seconds > 0:
        await asyncio.wait([load.failure], timeout=seconds)
        if load.failure.done():
            load.failure.result()
        enough = len(load.latencies) >= answers or time.perf_counter() > ends_at
        seconds = 0.0 if enough else 0.1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("--pid", type=int, nargs="+", required=True, help="processes to account")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--connections", type=int, required=True)
    parser.add_argument("--path", required=True)
    parser.add_argument("--token", default="t" * 88)
    parser.add_argument("--expect", default="", help="a text that is in every right answer")
    print(json.dumps(uvloop.run(measure(parser.parse_args()))))
