"""The mock engine: it answers at once, or streams tokens at a pace, each stamped when it is sent.

    python -m side_by_side.engine --socket PATH --port PORT --pid-file FILE [--lockstep]

A streamed answer has as many tokens as the request's `max_tokens`. Usage is said as vLLM says it:
within every chunk, at the end, or not at all, as the request asks. With `--lockstep` all streams
get their tokens at the same moments, as of an engine that computes in batches; otherwise each
stream has a rhythm of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import time
from pathlib import Path
from typing import cast

import httptools
import uvloop
from alone.engine import RESPONSE
from typing_extensions import override

from side_by_side.tokens import ASKED_TAG, TOKEN

TOKENS_PER_S = 50
EVERY_S = 1 / TOKENS_PER_S
BACKLOG = 2048
WELL = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 3\r\n\r\nok\n"
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)
_STREAM = re.compile(rb'"stream":\s*true')
_MAX_TOKENS = re.compile(rb'"max_tokens":\s*(\d+)')
_USAGE = re.compile(rb'"include_usage":\s*true')
_CONTINUOUS = re.compile(rb'"continuous_usage_stats":\s*true')
_CHUNK = (
    b'data: {"id":"chatcmpl-0123456789abcdef","object":"chat.completion.chunk",'
    b'"created":1700000000,"model":"model","choices":%s%s}\n\n'
)
_CHOICE = (
    b'[{"index":0,"delta":{"content":"%s"},"logprobs":null,"finish_reason":null,"token_ids":null}]'
)
_FIRST = (
    b'[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]'
)
_LAST = (
    b'[{"index":0,"delta":{"content":""},"logprobs":null,'
    b'"finish_reason":"length","stop_reason":null,"token_ids":null}]'
)
_SPENT = b'"usage":{"prompt_tokens":42,"total_tokens":%d,"completion_tokens":%d}'


class Stream:
    """One streamed answer."""

    def __init__(self, transport: asyncio.Transport, request: bytes) -> None:
        tag, most = ASKED_TAG.search(request), _MAX_TOKENS.search(request)
        self._transport = transport
        self._tag = int(tag[1]) if tag else 0
        self._left = int(most[1]) if most else TOKENS_PER_S
        self._sent = 0
        self._usage = _USAGE.search(request) is not None
        self._continuous = self._usage and _CONTINUOUS.search(request) is not None

    def begin(self) -> None:
        """Send the head, and the chunk that names the role."""
        self._transport.write(STREAM_HEAD + self._event(_FIRST))

    def go_on(self) -> bool:
        """Send a token, and the end behind the last one; False if there is nothing to send."""
        if self._transport.is_closing() or not self._left:
            return False
        token = TOKEN % (self._tag, self._sent, time.monotonic_ns())
        self._sent += 1
        self._left -= 1
        self._transport.write(self._event(_CHOICE % token))
        if not self._left:
            self._end()
        return bool(self._left)

    def _end(self) -> None:
        last = [self._event(_LAST)]
        if self._usage:
            last.append(_chunked(_CHUNK % (b"[]", b"," + self._spent())))
        last += [_chunked(b"data: [DONE]\n\n"), b"0\r\n\r\n"]
        self._transport.write(b"".join(last))

    def _event(self, choices: bytes) -> bytes:
        usage = b"," + self._spent() if self._continuous else b""
        return _chunked(_CHUNK % (choices, usage))

    def _spent(self) -> bytes:
        return _SPENT % (42 + self._sent, self._sent)


def _chunked(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class Pace:
    """Gives streams their turns: each at its own moments, or all of them together."""

    def __init__(self, *, lockstep: bool) -> None:
        self._lockstep = lockstep
        self._loop = asyncio.get_running_loop()
        self._streams: list[Stream] = []
        if lockstep:
            self._loop.call_later(EVERY_S, self._step, self._loop.time() + EVERY_S)

    def start(self, stream: Stream) -> None:
        """Begin a stream; its first token comes at once, or with the next step of all."""
        stream.begin()
        if self._lockstep:
            self._streams.append(stream)
        else:
            self._turn(stream, self._loop.time())

    def _turn(self, stream: Stream, due: float) -> None:
        if stream.go_on():
            self._loop.call_at(due + EVERY_S, self._turn, stream, due + EVERY_S)

    def _step(self, due: float) -> None:
        self._streams = [stream for stream in self._streams if stream.go_on()]
        self._loop.call_at(due + EVERY_S, self._step, due + EVERY_S)


class Connection(asyncio.Protocol):
    """One connection."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._body: list[bytes] = []

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to parse."""
        self._transport = cast("asyncio.Transport", transport)
        self._parser = httptools.HttpRequestParser(self)

    @override
    def data_received(self, data: bytes) -> None:
        """Parse on."""
        self._parser.feed_data(data)

    def on_body(self, data: bytes) -> None:
        """Take a part of a request."""
        self._body.append(data)

    def on_message_complete(self) -> None:
        """Answer a request that is here in full."""
        body = b"".join(self._body)
        self._body.clear()
        if self._parser.get_method() == b"GET":
            self._transport.write(WELL)
        elif _STREAM.search(body):
            self._pace.start(Stream(self._transport, body))
        else:
            self._transport.write(RESPONSE)


async def main(options: argparse.Namespace) -> None:
    """Serve until the process is told to stop."""
    loop = asyncio.get_running_loop()
    pace = Pace(lockstep=options.lockstep)

    def connection() -> Connection:
        return Connection(pace)

    async with (
        await loop.create_unix_server(connection, options.socket, backlog=BACKLOG),
        await loop.create_server(connection, "127.0.0.1", options.port, backlog=BACKLOG) as server,
    ):
        options.pid_file.write_text(str(os.getpid()), encoding="ascii")
        await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--socket", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--pid-file", type=Path, required=True)
    parser.add_argument("--lockstep", action="store_true")
    # What launchers add; there are no weights here.
    parser.add_argument("--model", nargs=2)
    uvloop.run(main(parser.parse_args()))
