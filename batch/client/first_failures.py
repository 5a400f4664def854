"""Why lines of a batch at a gateway failed, by the start of its error file."""

from __future__ import annotations

import asyncio
from urllib.parse import quote

from batch.client.errors import ClientError
from batch.client.gateway import Ask, Gateway
from batch.client.hosted import Hosted
from batch.commands import failures
from batch.commands.failures import Failures

#: Some thousand lines: enough to say what is wrong, soon enough for who waits for the end.
MOST_BYTES = 1 << 20
_WITHIN_S = 20.0


async def first_failures(gateway: Gateway, batch: Hosted) -> Failures | None:
    """Return why lines failed; None if there is no error file, or it cannot be had now."""
    if batch.error_file_id is None:
        return None
    try:
        async with asyncio.timeout(_WITHIN_S):
            content = await _start(gateway, batch.error_file_id)
    except (ClientError, TimeoutError) as error:
        # How the batch ended is known, and is not to wait for this.
        gateway.patience.say(f"why lines failed cannot be read now: {str(error) or 'no answer'}")
        return None
    return failures.of_lines(content[: content.rfind(b"\n") + 1].splitlines())


async def _start(gateway: Gateway, file_id: str) -> bytes:
    content = bytearray()
    ask = Ask(
        method="GET",
        path=f"files/{quote(file_id, safe='')}/content",
        headers={"Range": f"bytes=0-{MOST_BYTES - 1}"},
    )
    async with gateway.answered(ask) as response:
        async for block in response.content.iter_any():
            content += block
            if len(content) >= MOST_BYTES:
                break
    return bytes(content[:MOST_BYTES])
