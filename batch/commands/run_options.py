"""The options of `run`, and the job that they name."""

from __future__ import annotations

import os
from argparse import ArgumentParser, ArgumentTypeError, Namespace, _ArgumentGroup
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from batch.commands import numbers, rule_options
from batch.errors import KeyUnreadable
from batch.folder import Folder
from batch.job import Job
from batch.pending import Changes
from batch.rules import ENDPOINTS

if TYPE_CHECKING:
    from batch.transports.http import EngineAddress

URL = "http://127.0.0.1:8000"
#: The variable with the salt of the engine's cache: no command line, which everybody can read.
CACHE_SALT = "HOTNODE_BATCH_CACHE_SALT"


def add_to(parser: ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "input",
        type=Path,
        nargs="?",
        metavar="IN",
        help="a JSONL file; DIR/input.jsonl if left out",
    )
    parser.add_argument(
        "--folder", type=Path, metavar="DIR", help="the batch folder; IN.batch if left out"
    )
    _add_engine(parser.add_argument_group("the engine"))
    _add_runners(parser.add_argument_group("several runners"))
    rule_options.add_to(parser)


def _add_engine(engine: _ArgumentGroup) -> None:
    place = engine.add_mutually_exclusive_group()
    place.add_argument("--url", type=_url, default=URL, help="its address (default: %(default)s)")
    place.add_argument("--socket", type=Path, metavar="PATH", help="its Unix socket")
    place.add_argument(
        "--no-engine",
        action="store_true",
        help="there is none: check the input, or end a batch that is to end, and ask nothing; it "
        "takes the turn as every run, so it refuses where one seems to be at work, unless --epoch "
        "says that it may",
    )
    engine.add_argument("--api-key-file", type=Path, metavar="FILE", help="the key that opens it")
    engine.add_argument(
        "--engine-model", metavar="NAME", help="how the engine calls the model, if otherwise"
    )
    engine.add_argument(
        "--path",
        type=_lead,
        action="append",
        default=[],
        metavar="PATH=OWN",
        help="where the engine has what lines name as PATH; may be given again",
    )
    engine.add_argument(
        "--concurrency",
        type=numbers.count,
        metavar="N",
        help="requests under way; found out if left out",
    )
    engine.add_argument(
        "--priority", type=int, metavar="N", help="sent with each line (vLLM: lower is earlier)"
    )
    engine.add_argument(
        "--line-timeout-s", type=numbers.seconds, default=1800.0, metavar="S", help="for one answer"
    )
    engine.add_argument(
        "--patience-s",
        type=numbers.seconds,
        default=120.0,
        metavar="S",
        help="for an engine that is away",
    )


def _add_runners(runner: _ArgumentGroup) -> None:
    runner.add_argument("--epoch", type=numbers.count, metavar="N", help="the next one if left out")
    runner.add_argument(
        "--load", type=Path, metavar="FILE", help="says how many interactive requests there are"
    )
    runner.add_argument(
        "--drain-s",
        type=numbers.seconds,
        default=30.0,
        metavar="S",
        help="for lines under way at SIGTERM, at a cancel, and when the time is over",
    )


def folder(given: Namespace) -> Folder:
    """Return the batch folder."""
    # Not `with_name`: `/` and `.` have none, and are refused later, as any folder.
    path: Path = given.folder or Path(f"{given.input}.batch")
    return Folder(path)


def job(given: Namespace, *, most: int) -> Job:
    """Return what the runner is to do, with so many requests under way at most."""
    place = folder(given)
    return Job(
        folder=place,
        input=given.input or place.input,
        rules=rule_options.rules(given),
        epoch=given.epoch,
        load=given.load,
        changes=Changes(
            model=given.engine_model,
            priority=given.priority,
            cache_salt=os.environ.get(CACHE_SALT) or None,
        ),
        concurrency=given.concurrency,
        most=most,
        has_engine=not given.no_engine,
        drain_s=given.drain_s,
        patience_s=given.patience_s,
    )


def address(given: Namespace) -> EngineAddress:
    """Return where the engine listens, or raise `KeyUnreadable`."""
    from batch.transports.http import EngineAddress  # noqa: PLC0415 - needs aiohttp

    return EngineAddress(
        # All of them: what an earlier runner took is asked, whatever this one's options are.
        paths=ENDPOINTS,
        leads=dict(given.path),
        # The lines name the whole path; people are used to addresses that have its start.
        url="http://engine" if given.socket else given.url.rstrip("/").removesuffix("/v1"),
        socket=given.socket,
        api_key="" if given.api_key_file is None else _key(given.api_key_file),
        timeout_s=given.line_timeout_s,
    )


def _key(path: Path) -> str:
    try:
        key = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise KeyUnreadable(f"the key in {path} cannot be read: {error}") from error
    if not key or not key.isprintable() or not key.isascii():
        raise KeyUnreadable(f"there is no key in {path}")
    return key


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ArgumentTypeError(f"{text!r} is no address such as {URL}")
    return text


def _lead(text: str) -> tuple[str, str]:
    path, _, own = text.partition("=")
    if path not in ENDPOINTS or not own.startswith("/"):
        raise ArgumentTypeError(
            f"{text!r} is no PATH=OWN with one of {', '.join(sorted(ENDPOINTS))}"
        )
    return path, own
