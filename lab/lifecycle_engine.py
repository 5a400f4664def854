"""An engine for lifecycles: loads a while, answers and streams at a pace, and tells its real load.

    lifecycle_engine.py --socket PATH|PORT --model NAME --weights FOLDER [--load-s S]
        [--diary FILE]

It wants the key of LIFECYCLE_ENGINE_KEY on every request but `/health` and `/metrics`. A request is
a JSON object. To `/v1/completions`: `tokens` events come, one every `every_s`, then `[DONE]`;
without `tokens` it says where it runs. To `/v1/chat/completions`: `tokens` words, in one piece or
with `stream` one by one, as OpenAI's; `system_fingerprint` is the node. With `echo` an answer in
one piece says what the last message says. `POST /v1/sicken` makes its health route fail. At SIGTERM
it takes no new requests and ends when those under way have ended, as vLLM does.

A diary outlives the engine, and several may keep the same one: a JSON object for each chat, before
anything is done for it, and one when the engine has loaded.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

#: At SIGTERM those under way may take so long (seconds).
FINISH_S = 30.0
#: What a chat says unless it is asked for more or less.
USUAL_WORDS = 8
_EVENTS = {"content-type": "text/event-stream"}
_DONE = b"data: [DONE]\n\n"


class Diary:
    """Notes what happens, with the time (seconds since the epoch), if there is a file for it."""

    def __init__(self, file: str | None) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._descriptor = None if file is None else os.open(file, flags, 0o600)

    def note(self, **what: str) -> None:
        """Add an entry in one write, so that those of others stay whole."""
        if self._descriptor is not None:
            entry = {"at": time.time(), "pid": os.getpid(), **what}
            os.write(self._descriptor, f"{json.dumps(entry)}\n".encode())


class LifecycleEngine:
    """Counts what runs."""

    def __init__(self, model: str, weights: Path, diary: Diary) -> None:
        self._model = model
        self._weights = weights
        self._diary = diary
        self._running = 0
        self._loaded = False
        self._well = True

    async def load(self, seconds: float) -> None:
        """Take the time that a real one takes for its weights."""
        await asyncio.sleep(seconds)
        self._loaded = True
        self._diary.note(what="loaded")

    async def health(self, request: web.Request) -> web.Response:
        """Say whether it has loaded and is well."""
        return web.Response(status=200 if self._loaded and self._well else 503)

    async def metrics(self, request: web.Request) -> web.Response:
        """Say how many requests run."""
        return web.Response(text=f"running {self._running}\nwaiting 0\n")

    async def sicken(self, request: web.Request) -> web.Response:
        """Be unwell from now on."""
        self._well = False
        return web.Response()

    async def complete(self, request: web.Request) -> web.StreamResponse:
        """Answer a completion."""
        return await self._answered(request, self._completed)

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """Answer a chat."""
        return await self._answered(request, self._chatted)

    async def _answered(
        self,
        request: web.Request,
        answer: Callable[[web.Request, Mapping[str, Any]], Awaitable[web.StreamResponse]],
    ) -> web.StreamResponse:
        if request.headers.get("authorization") != f"Bearer {os.environ['LIFECYCLE_ENGINE_KEY']}":
            return web.json_response({"error": "no key"}, status=401)
        asked = await request.json()
        if asked.get("model") != self._model:
            return web.json_response({"error": "no such model"}, status=404)
        with self._counted():
            return await answer(request, asked)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1

    async def _completed(
        self, request: web.Request, asked: Mapping[str, Any]
    ) -> web.StreamResponse:
        if not asked.get("tokens"):
            return web.json_response(
                {
                    "gpus": os.environ.get("CUDA_VISIBLE_DEVICES"),
                    "weights": str(self._weights),
                    "text": self._weights.joinpath("weights.bin").read_text(),
                }
            )
        return await _streamed(request, asked, lambda number: {"n": number})

    async def _chatted(self, request: web.Request, asked: Mapping[str, Any]) -> web.StreamResponse:
        request_id = request.headers.get("x-request-id", "")
        self._diary.note(what="asked", request_id=request_id, text=_text(asked))
        head = {
            "id": "chatcmpl-lifecycle",
            "created": 0,
            "model": self._model,
            "system_fingerprint": os.uname().nodename,
        }
        if asked.get("stream"):
            return await _streamed(request, asked, lambda number: head | _chunk(number, asked))
        words = _words(asked)
        await asyncio.sleep(words * _pace_s(asked))
        content = _text(asked) if asked.get("echo") else "".join(map(_word, range(1, words + 1)))
        said = {"role": "assistant", "content": content}
        choice = {"index": 0, "message": said, "finish_reason": "stop"}
        usage = {"prompt_tokens": 1, "completion_tokens": words, "total_tokens": words + 1}
        body = {"object": "chat.completion", "choices": [choice], "usage": usage}
        return web.json_response(head | body)


async def _streamed(
    request: web.Request, asked: Mapping[str, Any], event: Callable[[int], Mapping[str, Any]]
) -> web.StreamResponse:
    response = web.StreamResponse(headers=_EVENTS)
    await response.prepare(request)
    for number in range(1, _words(asked) + 1):
        await asyncio.sleep(_pace_s(asked))
        await response.write(f"data: {json.dumps(event(number))}\n\n".encode())
    await response.write(_DONE)
    return response


def _text(asked: Mapping[str, Any]) -> str:
    messages = asked.get("messages")
    return str(messages[-1].get("content", "")) if messages else ""


def _words(asked: Mapping[str, Any]) -> int:
    return int(asked.get("tokens", USUAL_WORDS))


def _pace_s(asked: Mapping[str, Any]) -> float:
    return float(asked.get("every_s", 0.0))


def _word(number: int) -> str:
    return f"{number} "


def _chunk(number: int, asked: Mapping[str, Any]) -> dict[str, Any]:
    reason = "stop" if number == _words(asked) else None
    choice = {"index": 0, "delta": {"content": _word(number)}, "finish_reason": reason}
    return {"object": "chat.completion.chunk", "choices": [choice]}


async def main() -> None:
    """Serve until SIGTERM, and what was asked before it to the end."""
    parser = argparse.ArgumentParser()
    for name in ("--socket", "--model", "--weights"):
        parser.add_argument(name, required=True)
    parser.add_argument("--load-s", type=float, default=0.0)
    parser.add_argument("--diary")
    given = parser.parse_args()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    engine = LifecycleEngine(given.model, Path(given.weights), Diary(given.diary))
    application = web.Application()
    application.router.add_get("/health", engine.health)
    application.router.add_get("/metrics", engine.metrics)
    application.router.add_post("/v1/sicken", engine.sicken)
    application.router.add_post("/v1/completions", engine.complete)
    application.router.add_post("/v1/chat/completions", engine.chat)
    runner = web.AppRunner(
        application, access_log=None, handler_cancellation=True, shutdown_timeout=FINISH_S
    )
    await runner.setup()
    if given.socket.isdecimal():
        await web.TCPSite(runner, "127.0.0.1", int(given.socket)).start()
    else:
        await web.UnixSite(runner, given.socket).start()
    await engine.load(given.load_s)
    await stop.wait()
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
