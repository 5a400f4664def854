"""The mock engine for batches: so many slots, each busy for so long with a request; others wait.

    python -m batch_parts.engine --port PORT --slots N --each-s S

It tells its queue as vLLM does, so that clients can fill it: `/metrics`. `/taken` says how many
requests came in all.
"""

from __future__ import annotations

import argparse
import asyncio
from collections import deque
from typing import cast

import httptools
import uvloop
from alone.engine import RESPONSE
from typing_extensions import override

_PAGE = (
    'vllm:num_requests_running{model_name="model",engine="0"} %d\n'
    'vllm:num_requests_waiting{model_name="model",engine="0"} %d\n'
)


class Slots:
    """Does at most `count` requests at once, and each in `each_s`."""

    def __init__(self, count: int, each_s: float) -> None:
        self._free = count
        self._count = count
        self._each_s = each_s
        self._waiting: deque[asyncio.Transport] = deque()
        self._loop = asyncio.get_running_loop()
        self.taken = 0

    def take(self, transport: asyncio.Transport) -> None:
        """Answer a request when there was time for it."""
        self.taken += 1
        if self._free:
            self._free -= 1
            self._begin(transport)
        else:
            self._waiting.append(transport)

    def page(self) -> bytes:
        """Return what vLLM's page of metrics says of this."""
        return (_PAGE % (self._count - self._free, len(self._waiting))).encode()

    def _begin(self, transport: asyncio.Transport) -> None:
        self._loop.call_later(self._each_s, self._end, transport)

    def _end(self, transport: asyncio.Transport) -> None:
        if not transport.is_closing():
            transport.write(RESPONSE)
        if self._waiting:
            self._begin(self._waiting.popleft())
        else:
            self._free += 1


class Connection(asyncio.Protocol):
    """One connection."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._path = b""

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to parse."""
        self._transport = cast("asyncio.Transport", transport)
        self._parser = httptools.HttpRequestParser(self)

    @override
    def data_received(self, data: bytes) -> None:
        """Parse on."""
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        """Note what is asked for."""
        self._path = url

    def on_message_complete(self) -> None:
        """Answer at once what is no work."""
        if self._parser.get_method() == b"POST":
            self._slots.take(self._transport)
        else:
            known = {b"/metrics": self._slots.page(), b"/taken": b"%d" % self._slots.taken}
            body = known.get(self._path, b"{}")
            head = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: %d\r\n\r\n"
            self._transport.write(head % len(body) + body)


async def main(options: argparse.Namespace) -> None:
    """Serve until the process is told to stop."""
    slots = Slots(options.slots, options.each_s)
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(slots), "127.0.0.1", options.port, backlog=2048
    )
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--slots", type=int, required=True)
    parser.add_argument("--each-s", type=float, required=True)
    uvloop.run(main(parser.parse_args()))
