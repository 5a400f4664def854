"""Packs a request for the wire and says if the transport can carry it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass

from compute_functions.contract import (
    GLOBUS_PAYLOAD_LIMIT,
    EngineRequest,
    JsonObject,
    packed_size,
)
from resource_server.adapters.globus_compute.lanes import BATCH_BYTES
from resource_server.domain import errors

#: Compressing more than this would hold up every other request of the process (bytes).
THREAD_FROM = 64 * 1024
#: What Globus adds to each task inside a submission, at most (bytes).
TASK_FRAME = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """A function's argument and the most that it adds to a submission (bytes)."""

    argument: JsonObject
    size: int


async def pack_request(request: EngineRequest) -> Payload:
    """Return what `run_request` is called with, or raise `PayloadTooLarge`."""
    if len(request.body) < THREAD_FROM:
        argument = request.to_wire()
    else:
        argument = await asyncio.to_thread(request.to_wire)
    around = {name: value for name, value in argument.items() if name != "body"}
    size = packed_size(argument["body"]) + packed_json(around)
    if size > BATCH_BYTES:
        raise errors.PayloadTooLarge(
            f"The request takes {size} bytes when packed for the transport 'task', and Globus "
            f"Compute carries {GLOBUS_PAYLOAD_LIMIT} at once. Send a smaller body (smaller "
            "images, fewer inputs), or split the work into several requests.",
            limit_bytes=GLOBUS_PAYLOAD_LIMIT,
        )
    return Payload(argument=argument, size=size)


def packed_json(value: JsonObject) -> int:
    """Return the most bytes that a JSON object takes as a string inside a submission.

    Quoting at most doubles it: every character but a quote or backslash is plain by then.
    """
    return 2 * len(json.dumps(value)) + TASK_FRAME
