"""The unmodified openai SDK, overheard: comments of a stream, which it passes over, are told."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx2
import openai
from typing_extensions import override

#: A cold model may take so long to come (seconds).
PATIENCE_S = 300.0


class _Overheard(httpx2.SyncByteStream):
    """Passes the bytes of an answer on, and tells each comment that is among them."""

    def __init__(self, stream: httpx2.SyncByteStream, hear: Callable[[str], None]) -> None:
        self._stream = stream
        self._hear = hear

    @override
    def __iter__(self) -> Iterator[bytes]:
        rest = b""
        for part in self._stream:
            *lines, rest = (rest + part).split(b"\n")
            for line in lines:
                if line.startswith(b":"):
                    self._hear(line[1:].decode("utf-8", errors="replace").strip())
            yield part

    @override
    def close(self) -> None:
        self._stream.close()


class _Overhearing(httpx2.HTTPTransport):
    """A connection on which somebody listens."""

    def __init__(self, hear: Callable[[str], None]) -> None:
        super().__init__()
        self._hear = hear

    @override
    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        response = super().handle_request(request)
        if isinstance(response.stream, httpx2.SyncByteStream):
            response.stream = _Overheard(response.stream, self._hear)
        return response


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a stream told: its text, in pieces, and from which node if that is said."""

    text: str
    pieces: int
    nodes: frozenset[str]
    transport: str
    first_s: float
    whole_s: float


@contextmanager
def client(
    base_url: str, token: str, hear: Callable[[str], None] = lambda _: None
) -> Iterator[openai.OpenAI]:
    """Open the SDK; `hear` is called with each comment, in the thread that reads the answer."""
    with (
        httpx2.Client(transport=_Overhearing(hear), timeout=PATIENCE_S) as connection,
        openai.OpenAI(
            base_url=base_url, api_key=token, http_client=connection, max_retries=0
        ) as opened,
    ):
        yield opened


def stream(
    opened: openai.OpenAI,
    model: str,
    request: str,
    *,
    show: Callable[[str], None] = lambda _: None,
    own: dict[str, object] | None = None,
) -> Told:
    """Ask for a stream, and read it to its end; `own` are fields that only some engines know."""
    began = time.monotonic()
    first = None
    pieces: list[str] = []
    nodes: set[str] = set()
    response = opened.chat.completions.with_raw_response.create(
        model=model,
        messages=[{"role": "user", "content": request}],
        temperature=0,
        stream=True,
        extra_body=own,
    )
    with response.parse() as chunks:
        for chunk in chunks:
            nodes.add(chunk.system_fingerprint or "")
            if chunk.choices and (piece := chunk.choices[0].delta.content):
                first = first or time.monotonic()
                pieces.append(piece)
                show(piece)
    ended = time.monotonic()
    return Told(
        text="".join(pieces),
        pieces=len(pieces),
        nodes=frozenset(nodes - {""}),
        transport=response.headers.get("x-hotnode-transport", ""),
        first_s=(first or ended) - began,
        whole_s=ended - began,
    )
