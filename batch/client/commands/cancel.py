"""`cancel ID`: begin no more lines of a batch; what is done stays, and `results` fetches it."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter, _SubParsersAction

from batch.client import batches
from batch.client.commands import ending, options
from batch.client.commands.asking import ask, follow
from batch.client.commands.telling import Teller
from batch.client.gateway import Gateway


def add_to(commands: _SubParsersAction[ArgumentParser]) -> None:
    """Add this command to the others."""
    parser = commands.add_parser(
        "cancel",
        help="cancel a batch at a gateway",
        description=__doc__,
        epilog=ending.STATUSES,
        formatter_class=RawDescriptionHelpFormatter,
    )
    options.add_id(parser)
    parser.add_argument("--watch", action="store_true", help="stay until it is over")
    options.add_to(parser)
    parser.set_defaults(run=run)


def run(given: Namespace) -> int:
    """Cancel, and return the exit status."""
    return ask(given, lambda gateway, told: _cancel(given, gateway, told))


async def _cancel(given: Namespace, gateway: Gateway, told: Teller) -> int:
    batch = await batches.cancel(gateway, given.id)
    if given.watch:
        return await follow(gateway, told, given.id)
    told.result(f"{batch.id} {batch.status}\n", {"batch": dict(batch.wire)})
    return ending.DONE
