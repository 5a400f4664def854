"""`watch ID`: see how a batch gets on, until it is over.

A gateway that is away is asked again for as long as --timeout says. Ctrl-C leaves the batch
running.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter, _SubParsersAction

from batch.client.commands import ending, options
from batch.client.commands.asking import ask, follow


def add_to(commands: _SubParsersAction[ArgumentParser]) -> None:
    """Add this command to the others."""
    parser = commands.add_parser(
        "watch",
        help="see how a batch at a gateway gets on",
        description=__doc__,
        epilog=ending.STATUSES,
        formatter_class=RawDescriptionHelpFormatter,
    )
    options.add_id(parser)
    options.add_to(parser)
    parser.set_defaults(run=run)


def run(given: Namespace) -> int:
    """Watch, and return the exit status."""
    return ask(given, lambda gateway, told: follow(gateway, told, given.id))
