"""A program that a launcher can start as an engine; its last argument says how it misbehaves.

    small_engine.py --socket PATH|PORT --model NAME --weights FOLDER [BEHAVIOUR]

A well-behaved one listens on the socket, or on the port, wants the key of SMALL_ENGINE_KEY on every
request but `/health`, completes prompts, transcribes forms with a file, and ends on SIGTERM.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import wave

from aiohttp import web


class SmallEngine:
    """Does what an engine does, less what its behaviour spoils."""

    def __init__(self, model: str, behaviour: str) -> None:
        self._model = model
        self._behaviour = behaviour
        self._healthy = True

    async def health(self, request: web.Request) -> web.Response:
        return web.Response(status=200 if self._healthy else 503)

    async def complete(self, request: web.Request) -> web.Response:
        if self._behaviour == "reads-before-it-asks-for-the-key" and not self._may(request):
            return web.json_response({"error": "no such field"}, status=422)
        if not self._may(request):
            return web.json_response({"error": "no key"}, status=401)
        if self._behaviour == "keeps-the-probe":
            print("keeping the probe", flush=True)  # noqa: T201 # to the log, for the test
            await asyncio.Event().wait()
        asked = await request.json()
        if (
            self._behaviour in {"healthy-but-mute", "mute-and-deaf"}
            or asked["model"] != self._model
        ):
            return web.json_response({"error": "no tokens"}, status=500)
        if self._behaviour == "ends-after-start":
            asyncio.get_running_loop().call_later(0.1, os._exit, 7)
        self._healthy = self._behaviour != "sick-after-start"
        return web.json_response({"text": "Hello"})

    async def transcribe(self, request: web.Request) -> web.Response:
        if not self._may(request):
            return web.json_response({"error": "no key"}, status=401)
        asked = await request.post()
        file = asked.get("file")
        if asked.get("model") != self._model or not isinstance(file, web.FileField):
            return web.json_response({"error": "no file"}, status=400)
        with wave.open(file.file, "rb") as sound:
            return web.json_response({"text": f"{sound.getnframes() / sound.getframerate()} s"})

    def _may(self, request: web.Request) -> bool:
        given = request.headers.get("authorization")
        key = f"Bearer {os.environ['SMALL_ENGINE_KEY']}"
        return given == key or self._behaviour == "open-to-everybody"


async def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser()
    for name in ("--socket", "--model", "--weights"):
        parser.add_argument(name, required=True)
    parser.add_argument("behaviour", nargs="?", default="")
    given = parser.parse_args()
    if given.behaviour == "ends-at-once":
        sys.exit(3)
    stop = asyncio.Event()
    deaf = given.behaviour in {"ignores-sigterm", "mute-and-deaf"}
    on_term = (lambda: None) if deaf else stop.set
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, on_term)
    if given.behaviour == "has-a-worker":
        # Prints the worker's number to the log, for the test to look for it.
        worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])  # noqa: ASYNC220 # lives on
        print("worker", worker.pid, flush=True)  # noqa: T201
    engine = SmallEngine(given.model, given.behaviour)
    application = web.Application()
    application.router.add_get("/health", engine.health)
    application.router.add_post("/complete", engine.complete)
    application.router.add_post("/transcribe", engine.transcribe)
    runner = web.AppRunner(application, shutdown_timeout=1.0)
    await runner.setup()
    if given.behaviour == "does-not-listen":
        await stop.wait()
    elif given.socket.isdecimal():
        address = "0.0.0.0" if given.behaviour == "open-to-the-network" else "127.0.0.1"  # noqa: S104
        await web.TCPSite(runner, address, int(given.socket)).start()
    else:
        await web.UnixSite(runner, given.socket).start()
    await stop.wait()
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
