"""`list`: your batches at a gateway, the newest first."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter, _SubParsersAction
from datetime import UTC, datetime

from batch.client import batches
from batch.client.commands import ending, options
from batch.client.commands.asking import ask
from batch.client.commands.telling import Teller
from batch.client.gateway import Gateway
from batch.client.hosted import Hosted
from batch.commands import numbers
from batch.commands.printable import printable

LIMIT = 20
_HEAD = ("id", "status", "lines", "failed", "created (UTC)", "model")


def add_to(commands: _SubParsersAction[ArgumentParser]) -> None:
    """Add this command to the others."""
    parser = commands.add_parser(
        "list",
        help="your batches at a gateway",
        description=__doc__,
        epilog=ending.STATUSES,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--limit", type=numbers.count, default=LIMIT, metavar="N", help="so many (%(default)s)"
    )
    options.add_to(parser)
    parser.set_defaults(run=run)


def run(given: Namespace) -> int:
    """List, and return the exit status."""
    return ask(given, lambda gateway, told: _list(given, gateway, told))


async def _list(given: Namespace, gateway: Gateway, told: Teller) -> int:
    found = [batch async for batch in batches.newest(gateway, given.limit)]
    told.result(_table(found), {"batches": [dict(batch.wire) for batch in found]})
    return ending.DONE


def _table(found: list[Hosted]) -> str:
    if not found:
        return "no batches\n"
    rows = [_HEAD, *map(_row, found)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    return "".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        + "\n"
        for row in rows
    )


def _row(batch: Hosted) -> tuple[str, ...]:
    created = "" if batch.created_at is None else _time(batch.created_at)
    lines = f"{batch.done:,}/{batch.total:,}" if batch.total else ""
    cells = (batch.id, batch.status, lines, str(batch.failed or ""), created, batch.model)
    return tuple(printable(cell) for cell in cells)


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")
