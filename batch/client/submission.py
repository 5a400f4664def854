"""From a file on this machine to a batch at the gateway: check it, send it, have it made."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from batch.client import batches
from batch.client.batches import Order
from batch.client.errors import Mistaken, Refused
from batch.client.gateway import Gateway, Tell
from batch.client.hosted import Hosted
from batch.client.uploading import take_back, upload
from batch.errors import InputRefused
from batch.input_file import InputFile
from batch.rules import Rules
from batch.validation import Validated, validate


def check(path: Path, rules: Rules) -> Validated:
    """Return what a file holds, or raise `Mistaken`; nothing is sent."""
    try:
        with InputFile.open(path) as file:
            found = validate(file, rules)
    except InputRefused as refused:
        found = Validated.refused(refused.error)
    if found.error_count:
        raise Mistaken(str(path), found)
    return found


async def submit(gateway: Gateway, path: Path, name: str, order: Order, tell: Tell) -> Hosted:
    """Send a file, and have a batch made of it; if that is refused, the file is taken back."""
    file_id = await _sent(gateway, path, name, tell)
    try:
        return await batches.create(gateway, replace(order, input_file_id=file_id))
    except Refused:
        await take_back(gateway, file_id)
        raise
    except asyncio.CancelledError:
        gateway.patience.say("the file is sent; `list` shows whether the batch was made")
        raise


async def _sent(gateway: Gateway, path: Path, name: str, tell: Tell) -> str:
    """Return the id of the file at the gateway."""
    try:
        with InputFile.open(path) as file:
            return await upload(gateway, file, name, tell)
    except InputRefused as refused:
        raise Mistaken(str(path), Validated.refused(refused.error)) from refused
    except asyncio.CancelledError:
        gateway.patience.say(f"{path} was not sent, and no batch was made")
        raise
