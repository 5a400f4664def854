"""`resume ID`: have the lines of a batch that got no good answer done again, as a new batch.

Its metadata names the old one; `results --merge` puts the answers of both into one file.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter, _SubParsersAction
from pathlib import Path

from batch.client import batches, resuming, submission
from batch.client.batches import Order
from batch.client.commands import ending, options, submit
from batch.client.commands.asking import ask
from batch.client.commands.telling import Teller, transfer
from batch.client.gateway import Gateway
from batch.client.hosted import Hosted
from batch.client.resuming import Here
from batch.rules import RESERVED_BY_GATEWAYS, Rules


def add_to(commands: _SubParsersAction[ArgumentParser]) -> None:
    """Add this command to the others."""
    parser = commands.add_parser(
        "resume",
        help="go on with a batch that ended before its end",
        description=__doc__,
        epilog=ending.STATUSES,
        formatter_class=RawDescriptionHelpFormatter,
    )
    options.add_id(parser)
    parser.add_argument(
        "--input", type=Path, metavar="FILE", help="its input, if the gateway has it no longer"
    )
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="its answers, if the gateway has them not"
    )
    submit.add_choices(parser)
    options.add_to(parser)
    parser.set_defaults(run=run)


def run(given: Namespace) -> int:
    """Submit what remains, and return the exit status."""
    return ask(given, lambda gateway, told: _resume(given, gateway, told))


async def _resume(given: Namespace, gateway: Gateway, told: Teller) -> int:
    old = await batches.get(gateway, given.id)
    with tempfile.TemporaryDirectory(prefix="hotnode-resume-") as name:
        tell = transfer(told, "fetching", given.id)
        here = Here(input=given.input, output=given.output)
        rest = await resuming.rest_of(gateway, old, Path(name), here=here, tell=tell)
        rules = Rules(
            model=old.model or None,
            endpoint=old.endpoint or None,
            reserved=RESERVED_BY_GATEWAYS,
            # The gateway took them all before, by limits of its own.
            most_lines=sys.maxsize,
            most_inputs=sys.maxsize,
        )
        await asyncio.to_thread(submission.check, rest.path, rules)
        if not given.quiet:
            told.say(f"{rest.lines:,} lines of {old.id} have no good answer")
        tell = transfer(told, "sending", old.id)
        new = await submission.submit(
            gateway, rest.path, f"{old.id}-rest.jsonl", _order(given, old), tell
        )
    return await submit.created(given, gateway, told, new)


def _order(given: Namespace, old: Hosted) -> Order:
    return Order(
        key=submit.new_key(),
        model=old.model or None,
        endpoint=old.endpoint or None,
        window=given.window or old.window,
        metadata={**resuming.metadata_of(old), **dict(given.metadata)},
    )
