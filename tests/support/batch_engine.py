"""An engine for batches in a process of its own: fast, counting, and as bad as it is told to be.

    python -P tests/support/batch_engine.py (--port N | --socket PATH) --record FILE [--delay-s S]
        [--slots N]

It answers at all the paths that lines may name, each in its own words and with its own names for
tokens. Every request that it takes is a line of the record: the request's text. The text of a line
can ask for something: `sleep:2` for a late answer, `status:503` for a refusal each time, `once:500`
for one the first time, `garbage` for no JSON, `hangup` for a lost connection, `kill` for the
engine's death.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

_END = b"\r\n\r\n"


class Record:
    """What was asked, one line each; it outlives the engine."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.asked: Counter[str] = Counter()

    def note(self, text: str) -> None:
        self.asked[text] += 1
        os.write(self._descriptor, text.encode() + b"\n")


class Slots:
    """Works on so many requests at a time, lets others wait, and tells of both as vLLM does."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._running = 0
        self._waiting: deque[tuple[float, Callable[[], None]]] = deque()

    def take(self, delay_s: float, reply: Callable[[], None]) -> None:
        self._waiting.append((delay_s, reply))
        self._fill()

    @property
    def metrics(self) -> bytes:
        told = (("running", self._running), ("waiting", len(self._waiting)))
        return b"".join(b'vllm:num_requests_%b{engine="0"} %d\n' % (k.encode(), v) for k, v in told)

    def _fill(self) -> None:
        while self._waiting and self._free:
            self._free -= 1
            self._running += 1
            delay_s, reply = self._waiting.popleft()
            asyncio.get_running_loop().call_later(delay_s, self._done, reply)

    def _done(self, reply: Callable[[], None]) -> None:
        self._free += 1
        self._running -= 1
        reply()
        self._fill()


class Connection(asyncio.Protocol):
    """One connection that is kept: requests come one after the other."""

    def __init__(self, record: Record, delay_s: float, slots: Slots | None) -> None:
        self._record = record
        self._slots = slots
        self._delay_s = delay_s
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(_END)) >= 0:
            head = self._buffer[:end]
            length = _content_length(head)
            whole = end + len(_END) + length
            if len(self._buffer) < whole:
                return
            body, self._buffer = self._buffer[whole - length : whole], self._buffer[whole:]
            self._take(head, body)

    def _take(self, head: bytes, body: bytes) -> None:
        if head.startswith(b"GET /metrics") and self._slots is not None:
            self._answer(200, self._slots.metrics)
            return
        if head.startswith(b"GET"):
            status = 200 if head.startswith(b"GET /health") else 404
            self._answer(status, b"{}")
            return
        path = head.split(b" ", 2)[1].decode()
        if path not in _ANSWERS:
            self._answer(404, b"{}")
            return
        values = json.loads(body)
        text = _text(values)
        self._record.note(text)
        word, _, value = text.rpartition(" ")[2].partition(":")
        delay_s = float(value) if word == "sleep" else self._delay_s
        status = self._status(word, value, text)
        if self._slots is not None:
            self._slots.take(delay_s, lambda: self._reply(status, word, path, values))
        elif delay_s > 0:
            asyncio.get_running_loop().call_later(delay_s, self._reply, status, word, path, values)
        else:
            self._reply(status, word, path, values)

    def _status(self, word: str, value: str, text: str) -> int:
        if word == "status" or (word == "once" and self._record.asked[text] == 1):
            return int(value)
        return 200

    def _reply(self, status: int, word: str, path: str, values: dict[str, Any]) -> None:
        if word == "kill":
            os._exit(1)  # As an engine that crashes: nobody is told.
        if word == "hangup":
            self._transport.close()
        elif word == "garbage":
            self._answer(status, b"<html>")
        elif status != 200:
            error = {"message": "as asked", "type": "test_error", "code": None, "param": None}
            self._answer(status, json.dumps({"error": error}).encode())
        else:
            answer = {"model": values["model"], **_ANSWERS[path](_text(values))}
            answer["priority"] = values.get("priority")
            self._answer(status, json.dumps(answer).encode())

    def _answer(self, status: int, body: bytes) -> None:
        if self._transport.is_closing():
            return
        head = b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        self._transport.write(head % (status, len(body)) + body)


def _text(values: dict[str, Any]) -> str:
    """Return what a request asks, whichever field its endpoint has for that."""
    if "messages" in values:
        return str(values["messages"][-1]["content"])
    asked = next(values[name] for name in ("prompt", "input", "query") if name in values)
    return str(asked[0] if isinstance(asked, list) else asked)


def _chat(text: str) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": f"{text}!"}}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8},
    }


def _completion(text: str) -> dict[str, Any]:
    return {
        "id": "cmpl-1",
        "object": "text_completion",
        "choices": [{"index": 0, "text": f"{text}!"}],
        "usage": {"prompt_tokens": 2, "completion_tokens": 6, "total_tokens": 8},
    }


def _response(text: str) -> dict[str, Any]:
    return {
        "id": "resp_1",
        "object": "response",
        "output": [{"type": "message", "content": [{"type": "output_text", "text": f"{text}!"}]}],
        "usage": {
            "input_tokens": 7,
            "input_tokens_details": {"cached_tokens": 4},
            "output_tokens": 9,
            "output_tokens_details": {"reasoning_tokens": 1},
            "total_tokens": 16,
        },
    }


def _embeddings(text: str) -> dict[str, Any]:
    return {
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": [*f"{text}!".encode()]}],
        "usage": {"prompt_tokens": 4, "total_tokens": 4},
    }


def _ranking(text: str) -> dict[str, Any]:
    return {
        "id": "rerank-1",
        "results": [{"index": 0, "relevance_score": 0.5, "document": {"text": f"{text}!"}}],
        "usage": {"total_tokens": 11},
    }


_ANSWERS: dict[str, Callable[[str], dict[str, Any]]] = {
    "/v1/chat/completions": _chat,
    "/v1/completions": _completion,
    "/v1/embeddings": _embeddings,
    "/v1/responses": _response,
    "/v1/rerank": _ranking,
}


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int)
    parser.add_argument("--socket", type=Path)
    parser.add_argument("--record", type=Path, required=True)
    parser.add_argument("--delay-s", type=float, default=0.0)
    parser.add_argument("--model", help="what a launcher calls it; any model is answered")
    parser.add_argument("--slots", type=int)
    given = parser.parse_args()
    slots = None if given.slots is None else Slots(given.slots)
    record = Record(given.record)
    loop = asyncio.get_running_loop()

    def connection() -> Connection:
        return Connection(record, given.delay_s, slots)

    if given.socket is None:
        server = await loop.create_server(connection, "127.0.0.1", given.port, backlog=1024)
    else:
        given.socket.unlink(missing_ok=True)
        server = await loop.create_unix_server(connection, str(given.socket), backlog=1024)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
