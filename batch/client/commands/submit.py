"""`submit FILE`: check a file of requests, send it to a gateway, and have it done.

With --site-path the input is a file of the cluster, and nothing is sent.
"""

from __future__ import annotations

import asyncio
import secrets
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter, _SubParsersAction
from pathlib import Path

from batch.client import batches, submission
from batch.client.batches import WINDOW, Order
from batch.client.commands import ending, options
from batch.client.commands.asking import ask, follow
from batch.client.commands.telling import Teller, transfer
from batch.client.gateway import Gateway
from batch.client.hosted import Hosted
from batch.commands import program
from batch.rules import ENDPOINTS, RESERVED_BY_GATEWAYS, Rules


def add_to(commands: _SubParsersAction[ArgumentParser]) -> None:
    """Add this command to the others."""
    parser = commands.add_parser(
        "submit",
        help="have a file of requests done at a gateway",
        description=__doc__,
        epilog=ending.STATUSES,
        formatter_class=RawDescriptionHelpFormatter,
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("file", type=Path, nargs="?", metavar="FILE", help="a JSONL file")
    source.add_argument("--site-path", metavar="PATH", help="a JSONL file of the cluster")
    parser.add_argument(
        "--output-folder", metavar="DIR", help="with --site-path: where results go at the cluster"
    )
    parser.add_argument("--model", help="the model that all lines name; else the first's")
    parser.add_argument(
        "--endpoint",
        choices=sorted(ENDPOINTS),
        help="the path that all lines name; else the first's",
    )
    add_choices(parser)
    parser.add_argument(
        "--no-validate", action="store_true", help="send the file without looking at it"
    )
    options.add_to(parser)
    parser.set_defaults(run=run, parser=parser)


def add_choices(parser: ArgumentParser) -> None:
    """Let a command take what may be said of any new batch."""
    parser.add_argument(
        "--metadata",
        type=options.pair,
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="kept with the batch; up to 16 times",
    )
    parser.add_argument("--window", metavar="24h", help="hours or days until it expires (24h)")
    parser.add_argument("--watch", action="store_true", help="stay until it is over")
    parser.add_argument("--quiet", action="store_true", help="print the batch's id alone")


def run(given: Namespace) -> int:
    """Submit, and return the exit status."""
    if given.output_folder and not given.site_path:
        given.parser.error("--output-folder goes with --site-path")
    return ask(given, lambda gateway, told: _submit(given, gateway, told))


async def _submit(given: Namespace, gateway: Gateway, told: Teller) -> int:
    order = Order(
        key=new_key(),
        site_path=given.site_path,
        output_folder=given.output_folder,
        model=given.model,
        endpoint=given.endpoint,
        window=given.window or WINDOW,
        metadata=dict(given.metadata),
    )
    if given.site_path:
        batch = await batches.create(gateway, order)
    else:
        batch = await _from_here(given, gateway, told, order)
    return await created(given, gateway, told, batch)


async def _from_here(given: Namespace, gateway: Gateway, told: Teller, order: Order) -> Hosted:
    path: Path = given.file
    if not given.no_validate:
        told.progress(f"checking {path.name} …", {"stage": "checking", "file": path.name})
        rules = Rules(model=given.model, endpoint=given.endpoint, reserved=RESERVED_BY_GATEWAYS)
        await asyncio.to_thread(submission.check, path, rules)
    tell = transfer(told, "sending", path.name)
    return await submission.submit(gateway, path, path.name, order, tell)


async def created(given: Namespace, gateway: Gateway, told: Teller, batch: Hosted) -> int:
    """Tell that a batch was made, and stay with it if that is wanted."""
    again = program.command("watch", batch.id)
    text = f"{batch.id}\n" if given.quiet else f"{batch.id} {batch.status}\n  {again}\n"
    told.result(text, {"batch": dict(batch.wire)})
    return await follow(gateway, told, batch.id) if given.watch else ending.DONE


def new_key() -> str:
    """Return a key by which the gateway knows the same order again."""
    return f"hotnode-{secrets.token_hex(16)}"
