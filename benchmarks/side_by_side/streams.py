"""Keeps a number of streams under way, counts every token, and prints what it measured.

    python -m side_by_side.streams PORT --path PATH --streams N --tokens N --seconds S

Streams begin one behind the other, so that the load is steady when it is measured. Each that ends
is followed by another until the time is over; then the last ones are read to their end.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import cast

import httptools
import uvloop
from alone.load import HEAD, cpu_s
from typing_extensions import override

from side_by_side import real_tokens
from side_by_side.engine import EVERY_S
from side_by_side.tokens import DONE, SEEN_TOKEN, TAG, Received, Tally, percentile

#: A stream that is not over so long after the engine's last token never will be (seconds).
END_WITHIN_S = 60.0
#: How long streams are under way before they are measured, beyond the first one's length (s).
LONGEST_SETTLING_S = 1.0
_EVENT_END = b"\n\n"


class Load:
    """What all connections share: what is asked, and what came of it."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._tags = itertools.count(1)
        self.tokens: int = options.tokens
        self.real: bool = options.real
        self.tally = Tally()
        self.measuring = False
        self.over = False
        #: Milliseconds, of what began or came while it was measured.
        self.ttfts: list[float] = []
        self.lags: list[float] = []
        #: Of streams that began before, for who is too slow to begin one later.
        self.early_ttfts: list[float] = []

    def request(self, tag: int) -> bytes:
        """Return a request for a stream."""
        options = self._options
        question = f"{TAG.format(tag=tag)}. " + "Why is the sky blue? Answer in one paragraph. " * 4
        asked: dict[str, object] = {
            "model": "model",
            "messages": [
                {"role": "system", "content": "You are a helpful assistant."},
                {"role": "user", "content": question},
            ],
            "max_tokens": options.tokens,
            "stream": True,
        }
        if options.real:
            asked |= {"temperature": 0, "logprobs": True, "stream_options": {"include_usage": True}}
        body = json.dumps(asked).encode()
        head = HEAD.format(
            port=options.port, path=options.path, token=options.token, length=len(body)
        )
        return head.replace("\n", "\r\n").encode() + body

    def new_tag(self) -> int:
        """Return a number that no stream had."""
        return next(self._tags)

    def ended(self, received: Received) -> None:
        """Count what came of a stream."""
        self.tally.add(received.tally())


class Caller(asyncio.Protocol):
    """One place for a stream: asks, reads, and asks again on the same connection."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._transport: asyncio.Transport | None = None
        self._received: Received | None = None
        self._unread = b""
        self._asked_at = 0
        self._last_at = 0
        self._counts = False
        self.idle = asyncio.Event()
        self.idle.set()

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take note of the transport."""
        self._transport = cast("asyncio.Transport", transport)

    @property
    def connected(self) -> bool:
        """Whether the next stream can use the connection."""
        return self._transport is not None and not self._transport.is_closing()

    def ask(self) -> None:
        """Begin a stream."""
        if self._transport is None:
            return
        load, tag = self._load, self._load.new_tag()
        self.idle.clear()
        self._received, self._unread = Received(tag, load.tokens), b""
        self._parser = httptools.HttpResponseParser(self)
        self._counts = load.measuring
        self._asked_at = time.monotonic_ns()
        self._transport.write(load.request(tag))

    @override
    def data_received(self, data: bytes) -> None:
        """Parse on."""
        self._parser.feed_data(data)

    def on_body(self, data: bytes) -> None:
        """Look for tokens in the events that are whole."""
        received, load, now = self._received, self._load, time.monotonic_ns()
        if received is None:
            return
        events, end, rest = (self._unread + data).rpartition(_EVENT_END)
        self._unread = rest
        if end and DONE in events:
            received.done = True
        if load.real:
            self._take_real(received, events, now)
            return
        for seen in SEEN_TOKEN.finditer(events):
            tag, number, sent_at = (int(part) for part in seen.groups())
            if number == 0:
                ttfts = load.ttfts if self._counts else load.early_ttfts
                ttfts.append((now - self._asked_at) / 1e6)
            received.take(tag, number)
            if load.measuring:
                load.lags.append((now - sent_at) / 1e6)

    def _take_real(self, received: Received, events: bytes, now: int) -> None:
        """Count vLLM's tokens, which have no number of their own; a lag is the time between two."""
        load = self._load
        before = len(received.numbers)
        real_tokens.take(received, events)
        if len(received.numbers) == before:
            return
        if not before:
            ttfts = load.ttfts if self._counts else load.early_ttfts
            ttfts.append((now - self._asked_at) / 1e6)
        elif load.measuring:
            load.lags.append((now - self._last_at) / 1e6)
        self._last_at = now

    def on_message_complete(self) -> None:
        """Count the stream that is over."""
        self._over()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        """Count a stream that broke off."""
        self._transport = None
        self._over()

    def _over(self) -> None:
        received, self._received = self._received, None
        if received is not None:
            self._load.ended(received)
        self.idle.set()

    def close(self) -> None:
        """Hang up; a stream under way is given up."""
        if self._received is not None:
            self._received.given_up = True
        if self._transport is not None:
            self._transport.abort()
        self._over()


async def keep(load: Load, port: int, *, after_s: float) -> None:
    """Keep one stream under way until the load is over; read the last one to its end."""
    await asyncio.sleep(after_s)
    loop = asyncio.get_running_loop()
    caller: Caller | None = None
    try:
        while not load.over:
            if caller is None or not caller.connected:
                connection = partial(Caller, load)
                _, caller = await loop.create_connection(connection, "127.0.0.1", port)
            caller.ask()
            await caller.idle.wait()
    finally:
        if caller is not None:
            caller.close()


async def measure(options: argparse.Namespace) -> dict[str, object]:
    """Return latencies in milliseconds, CPU seconds, and what came of all tokens."""
    load = Load(options)
    stream_s = options.tokens * EVERY_S
    callers = [
        asyncio.create_task(keep(load, options.port, after_s=stream_s * n / options.streams))
        for n in range(options.streams)
    ]
    await asyncio.sleep(stream_s + min(stream_s, LONGEST_SETTLING_S) / 2)
    load.measuring = True
    began, own_before = time.perf_counter(), time.process_time()
    cpu_before = [cpu_s(pid) for pid in options.pid]
    await asyncio.sleep(options.seconds)
    elapsed, own_s = time.perf_counter() - began, time.process_time() - own_before
    used = [cpu_s(pid) - before for pid, before in zip(options.pid, cpu_before, strict=True)]
    load.measuring, load.over = False, True
    count = len(load.lags)
    await read_to_the_end(callers, within_s=stream_s + END_WITHIN_S)
    ttfts, lags = sorted(load.ttfts or load.early_ttfts), sorted(load.lags)
    return {
        "rate": count / elapsed,
        "ttft_p50_ms": percentile(ttfts, 0.5),
        "ttft_p99_ms": percentile(ttfts, 0.99),
        "lag_p50_ms": percentile(lags, 0.5),
        "lag_p99_ms": percentile(lags, 0.99),
        "count": count,
        "cpu_each_s": used,
        "own_cpu_s": own_s,
        "tally": asdict(load.tally),
    }


async def read_to_the_end(callers: Sequence[asyncio.Task[None]], *, within_s: float) -> None:
    """Wait for the last streams; those that are late are given up."""
    _, late = await asyncio.wait(callers, timeout=within_s)
    for task in late:
        task.cancel()
    await asyncio.wait(callers)
    for task in callers:
        if not task.cancelled():
            task.result()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("--path", required=True)
    parser.add_argument("--token", default="t" * 88)
    parser.add_argument("--pid", type=int, nargs="+", required=True, help="processes to account")
    parser.add_argument("--streams", type=int, required=True)
    parser.add_argument("--tokens", type=int, required=True, help="of each stream")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--real", action="store_true", help="the engine is vLLM")
    print(json.dumps(uvloop.run(measure(parser.parse_args()))))
