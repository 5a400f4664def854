"""Runs what a command asks of its gateway, and turns what goes wrong into words and a status."""

from __future__ import annotations

import asyncio
import os
import signal
from argparse import Namespace
from collections.abc import Awaitable, Callable

from batch.client import gateway, token
from batch.client.commands import ending, options
from batch.client.commands.telling import Teller, look, teller
from batch.client.errors import ClientError, Mistaken, Refused
from batch.client.first_failures import first_failures
from batch.client.gateway import Gateway
from batch.client.patience import Patience
from batch.client.watching import watch
from batch.commands.program import command
from batch.commands.validate import as_text
from batch.errors import BatchError

Work = Callable[[Gateway, Teller], Awaitable[int]]


def ask(given: Namespace, work: Work) -> int:
    """Do the work at the gateway that a command line names, and return the exit status."""
    told = teller(as_json=given.json, quiet=getattr(given, "quiet", False))
    try:
        return asyncio.run(_asked(given, work, told))
    except (ClientError, BatchError) as error:
        _tell(told, error)
        return ending.status_of(error)
    except OSError as error:
        # What the network says is a `ClientError` by now: this is of this machine.
        told.say(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        return ending.DISK
    except KeyboardInterrupt:
        return ending.INTERRUPTED
    finally:
        told.close()


async def follow(gateway: Gateway, told: Teller, batch_id: str) -> int:
    """Watch a batch until it is over, tell how it ended, and return the exit status.

    Whoever interrupts this leaves the batch to itself, and is told how to come back.
    """
    try:
        batch = await watch(gateway, batch_id, look(told))
    except asyncio.CancelledError:
        back = command("watch", batch_id)
        told.say(f"{batch_id} goes on without you. To see it again: {back}")
        raise
    why = await first_failures(gateway, batch)
    wire: dict[str, object] = {"batch": dict(batch.wire)}
    if why is not None:
        wire["failures"] = why.to_wire()
    told.result(ending.as_text(batch, why), wire)
    return ending.status_of_batch(batch)


async def _asked(given: Namespace, work: Work, told: Teller) -> int:
    url = options.base_url(given, os.environ)
    opener = token.token_from(os.environ, given.token_command)
    patience = Patience(timeout_s=given.timeout, say=told.say)
    task = asyncio.current_task()
    if task is not None:
        # Who is told to end leaves as one who is interrupted.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        async with gateway.opened(url, opener, patience) as found:
            return await work(found, told)
    except asyncio.CancelledError as error:
        raise KeyboardInterrupt from error


def _tell(told: Teller, error: ClientError | BatchError) -> None:
    if isinstance(error, Mistaken):
        told.result(as_text(error.name, error.found), {"mistakes": error.found.to_wire()})
        return
    told.say(f"{error}{_told_by_the_gateway(error)}")


def _told_by_the_gateway(error: ClientError | BatchError) -> str:
    """Return status, code and field of a refusal: for the manual, and for who is asked for help."""
    if not isinstance(error, Refused) or not error.status:
        return ""
    field = f", field {error.param}" if error.param else ""
    return f" ({error.status} {error.code}".rstrip() + f"{field})"
