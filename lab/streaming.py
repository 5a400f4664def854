"""What the demo streams: a story, token by token, with the unmodified openai SDK."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import openai

from lab.question import TIMEOUT_S

REQUEST = "Tell me a story."
#: How the model's only story ends.
ENDING = "was never lonely."


@dataclass(frozen=True, slots=True, kw_only=True)
class Streamed:
    """What came, and how: `pieces` had text in them, the first after so many seconds."""

    text: str
    pieces: int
    first_s: float
    whole_s: float
    transport: str
    request_id: str

    @property
    def right(self) -> bool:
        """Whether the whole story came, in pieces, and on the relay."""
        return self.text.endswith(ENDING) and self.pieces > 1 and self.transport == "relay"


def stream(base_url: str, token: str, model: str, show: Callable[[str], None]) -> Streamed:
    """Ask for the story; `show` is told each piece when it comes."""
    pieces: list[str] = []
    with openai.OpenAI(base_url=base_url, api_key=token, timeout=TIMEOUT_S) as client:
        began = first = time.monotonic()
        response = client.chat.completions.with_raw_response.create(
            model=model,
            messages=[{"role": "user", "content": REQUEST}],
            temperature=0,
            stream=True,
        )
        with response.parse() as chunks:
            for chunk in chunks:
                if piece := chunk.choices[0].delta.content:
                    first = first if pieces else time.monotonic()
                    pieces.append(piece)
                    show(piece)
        ended = time.monotonic()
    return Streamed(
        text="".join(pieces),
        pieces=len(pieces),
        first_s=first - began,
        whole_s=ended - began,
        transport=response.headers.get("x-hotnode-transport", ""),
        request_id=response.headers.get("x-request-id", ""),
    )
