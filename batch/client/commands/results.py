"""`results ID`: fetch what a batch left, also one that was cancelled or has expired.

Fetched again after it was cut, it goes on where it was. With --merge the good answers of the
batches that it goes on with (`resume`) come along, in one file.
"""

from __future__ import annotations

import asyncio
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter, _SubParsersAction
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from batch.client import batches, results
from batch.client.commands import ending, options
from batch.client.commands.asking import ask
from batch.client.commands.telling import Teller, transfer
from batch.client.downloading import Fetched
from batch.client.errors import WrongSetting
from batch.client.gateway import Gateway
from batch.client.hosted import Hosted
from batch.client.results import Places
from batch.commands import failures
from batch.commands.failures import Failures
from batch.commands.printable import printable


def add_to(commands: _SubParsersAction[ArgumentParser]) -> None:
    """Add this command to the others."""
    parser = commands.add_parser(
        "results",
        help="fetch what a batch at a gateway left",
        description=__doc__,
        epilog=ending.STATUSES,
        formatter_class=RawDescriptionHelpFormatter,
    )
    options.add_id(parser)
    parser.add_argument("--output", type=Path, metavar="FILE", help="ID.output.jsonl if left out")
    parser.add_argument("--errors", type=Path, metavar="FILE", help="ID.errors.jsonl if left out")
    parser.add_argument(
        "--merge", action="store_true", help="with the answers of the batches that it goes on with"
    )
    options.add_to(parser)
    parser.set_defaults(run=run)


def run(given: Namespace) -> int:
    """Fetch the results, and return the exit status."""
    return ask(given, lambda gateway, told: _results(given, gateway, told))


async def _results(given: Namespace, gateway: Gateway, told: Teller) -> int:
    places = _places(given)
    batch = await batches.get(gateway, given.id)
    tell = transfer(told, "fetching", given.id)
    wire: dict[str, object] | None
    if given.merge:
        count, failed = await results.merge(gateway, batch, places, tell)
        text = f"  output  {places.output}, {count:,} answers\n"
        wire = {"path": str(places.output), "answers": count}
    else:
        async with _said_when_interrupted(told):
            output, failed = await results.collect(gateway, batch, places, tell)
        text = _elsewhere(batch) + _told("output", output)
        wire = output.to_wire() if output else None
    why = None if failed is None else await asyncio.to_thread(failures.of_file, failed.path)
    text += _told("errors", failed) + _reasons(why)
    told.result(text or f"{batch.id} left nothing\n", _wire(batch, wire, failed, why))
    return ending.status_of_batch(batch)


def _places(given: Namespace) -> Places:
    """Return where the files go, or raise `WrongSetting`: before anything is fetched."""
    places = Places(
        output=given.output or Path(f"{given.id}.output.jsonl"),
        errors=given.errors or Path(f"{given.id}.errors.jsonl"),
    )
    for path in (places.output, places.errors):
        # A rename would put a file in the place of a device.
        if path.exists() and not path.is_file():
            raise WrongSetting(f"{path} is no file: name one, which may be there or not")
        if not path.parent.is_dir():
            raise WrongSetting(f"{path.parent}: there is no such folder")
    if places.output.absolute() == places.errors.absolute():
        raise WrongSetting("--output and --errors name the same file")
    return places


@asynccontextmanager
async def _said_when_interrupted(told: Teller) -> AsyncIterator[None]:
    try:
        yield
    except asyncio.CancelledError:
        told.say("What was fetched so far is kept: the same command goes on where it was.")
        raise


def _told(kind: str, found: Fetched | None) -> str:
    return f"  {kind}  {printable(str(found.path))}, {found.bytes:,} bytes\n" if found else ""


def _elsewhere(batch: Hosted) -> str:
    """Return where there are more answers than those that are fetched."""
    said = f"  at the cluster: {printable(batch.results_path)}\n" if batch.results_path else ""
    missing = batch.answers_elsewhere
    return said + (f"  {printable(missing)}\n" if missing else "")


def _reasons(why: Failures | None) -> str:
    lines = [] if why is None else failures.as_lines(why, of=why.lines)
    return "".join(f"{line}\n" for line in lines)


def _wire(
    batch: Hosted,
    output: dict[str, object] | None,
    failed: Fetched | None,
    why: Failures | None,
) -> dict[str, object]:
    errors = failed.to_wire() if failed else None
    found: dict[str, object] = {"batch": batch.id, "output": output, "errors": errors}
    if why is not None:
        found["failures"] = why.to_wire()
    return {"results": found}
