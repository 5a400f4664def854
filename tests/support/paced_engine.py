"""An engine that streams events at a pace, and fails where its request says so.

    paced_engine.py (--socket PATH | --port PORT) [--record FOLDER]

With a folder it writes what it says into a file for each request, named by the request's `tag`,
before it says it: the file outlives the process.

A request is a JSON object; every field may be left out:

    tokens      how many events come before [DONE]
    every_s     how long it waits before each
    pad         so many bytes of filling in each event
    pause_at    before this event it waits until `PacedEngine.go` is set
    break_at    before this event it closes the connection; 0 is before the head
    refuse      the status of an error of its own
    plain       one JSON answer of so many bytes, in place of events
    hang        true: it reads the request and says nothing
    keeps_open  true: behind [DONE] it never ends its answer
    tag         a name for the record

Each event holds its number and when it was made (`time.monotonic_ns`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web


@dataclass(slots=True)
class Served:
    """What the engine did for one request."""

    asked: dict[str, Any]
    headers: dict[str, str]
    path: str
    transport: asyncio.Transport | None = None
    said: bytearray = field(default_factory=bytearray)
    hung_up: asyncio.Event = field(default_factory=asyncio.Event)
    done: asyncio.Event = field(default_factory=asyncio.Event)


class PacedEngine:
    """Answers as its requests say; remembers what it served, by request id, unless told not to."""

    def __init__(self, *, remembers: bool = True, record: Path | None = None) -> None:
        self.served: dict[str, Served] = {}
        self.go = asyncio.Event()
        self.running, self.waiting = 0, 0
        self._remembers = remembers
        self._record = record

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/metrics":
            return web.Response(text=self.metrics())
        if request.method == "GET":
            return web.Response(text="well")
        asked = json.loads(await request.read() or b"{}")
        served = Served(asked, dict(request.headers), request.path, request.transport)
        if self._remembers:
            self.served[request.headers["x-request-id"]] = served
        try:
            return await self._answer(request, served)
        except (asyncio.CancelledError, ConnectionError):
            served.hung_up.set()
            raise

    def metrics(self) -> str:
        """Return the page, with two samples of each metric and others beside."""
        return (
            "# TYPE vllm:num_requests_running gauge\n"
            f'vllm:num_requests_running{{engine="0"}} {self.running:.1f}\n'
            'vllm:num_requests_running{engine="1"} 1.0\n'
            'vllm:num_requests_waiting_by_reason{reason="capacity"} 77.0\n'
            f'vllm:num_requests_waiting{{engine="0"}} {self.waiting:.1f}\n'
        )

    async def _answer(self, request: web.Request, served: Served) -> web.StreamResponse:
        asked = served.asked
        if asked.get("hang"):
            await asyncio.Event().wait()
        if "refuse" in asked:
            return web.json_response({"error": "no"}, status=asked["refuse"])
        if "plain" in asked:
            body = json.dumps({"text": "x" * asked["plain"]}).encode()
            served.said += body
            return web.Response(body=body, content_type="application/json")
        return await self._events(request, served)

    async def _events(self, request: web.Request, served: Served) -> web.StreamResponse:
        asked = served.asked
        break_at, every_s = asked.get("break_at"), asked.get("every_s", 0)
        if break_at == 0:
            return self._broken(request)
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        filling = "x" * asked.get("pad", 0)
        for number in range(1, asked.get("tokens", 3) + 1):
            if number == asked.get("pause_at"):
                await self.go.wait()
            if number == break_at:
                return self._broken(request, response)
            if every_s:
                await asyncio.sleep(every_s)
            event = f'data: {{"n":{number},"t":{time.monotonic_ns()},"x":"{filling}"}}\n\n'
            await self._say(response, served, event.encode())
        await self._say(response, served, b"data: [DONE]\n\n")
        served.done.set()
        if asked.get("keeps_open"):
            await asyncio.Event().wait()
        return response

    async def _say(self, response: web.StreamResponse, served: Served, event: bytes) -> None:
        # First, so that nothing was said that is not known, however it ends.
        if self._remembers:
            served.said += event
        if self._record is not None:
            with (self._record / served.asked["tag"]).open("ab", buffering=0) as file:
                file.write(event)
        await response.write(event)

    def _broken(
        self, request: web.Request, response: web.StreamResponse | None = None
    ) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.close()
        return response or web.Response()


async def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    place = parser.add_mutually_exclusive_group(required=True)
    place.add_argument("--socket")
    place.add_argument("--port", type=int)
    parser.add_argument("--record", type=Path)
    # What launchers add; there are no weights here.
    parser.add_argument("--model", nargs=2)
    given = parser.parse_args()
    application = web.Application(client_max_size=64 * 1024 * 1024)
    engine = PacedEngine(remembers=False, record=given.record)
    application.router.add_route("*", "/{path:.*}", engine.answer)
    runner = web.AppRunner(application, access_log=None, handler_cancellation=True)
    await runner.setup()
    if given.socket:
        await web.UnixSite(runner, given.socket, backlog=2048).start()
    else:
        await web.TCPSite(runner, "127.0.0.1", given.port, backlog=2048).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
