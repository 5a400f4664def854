"""The person whose batch it is: the unmodified openai SDK, and an input whose answers are known."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from openai import AsyncOpenAI
from openai.types import Batch

from batch_parts.deaths.stand import Stand
from batch_parts.inputs import URL

#: A line is worked on for so long (seconds).
LINE_S = 0.4
ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
_POLL_S = 0.25
#: The gateway restarts under people's hands.
_RETRIES, _TIMEOUT_S = 8, 60.0


def text_of(custom_id: str) -> str:
    """Return what a line asks, which is what its answer has to say."""
    return f"What do you say to {custom_id}?"


def write_input(path: Path, model: str, count: int) -> Path:
    """Write so many lines."""
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            custom_id = f"line-{number}"
            message = {"role": "user", "content": text_of(custom_id)}
            own = {"tokens": 1, "every_s": LINE_S, "echo": True}
            body = {"model": model, "messages": [message], **own}
            line = {"custom_id": custom_id, "method": "POST", "url": URL, "body": body}
            file.write(json.dumps(line) + "\n")
    return path


def client(stand: Stand) -> AsyncOpenAI:
    """Return the SDK for the person's gateway."""
    return AsyncOpenAI(
        base_url=stand.running.base_url(),
        api_key=stand.token,
        max_retries=_RETRIES,
        timeout=_TIMEOUT_S,
    )


async def submit(openai: AsyncOpenAI, source: Path) -> Batch:
    """Upload an input, and make a batch of it."""
    uploaded = await openai.files.create(file=source, purpose="batch")
    return await openai.batches.create(
        input_file_id=uploaded.id, endpoint="/v1/chat/completions", completion_window="24h"
    )


async def ended(openai: AsyncOpenAI, batch_id: str, *, within_s: float) -> Batch:
    """Wait until a batch is over."""
    async with asyncio.timeout(within_s):
        while True:
            batch = await openai.batches.retrieve(batch_id)
            if batch.status in ENDED:
                return batch
            await asyncio.sleep(_POLL_S)


async def content(openai: AsyncOpenAI, file_id: str | None) -> bytes:
    """Return what a file holds; nothing if there is none."""
    return b"" if file_id is None else (await openai.files.content(file_id)).content
