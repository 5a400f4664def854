"""What programs of several measures have in common: their options, their folder, how they end."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Callable, Collection, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from measured import Line

from lab.login import LoginFailed
from lab.processes import ProcessFailed
from lab.system.packages import PackageMissing


def run(measuring: Callable[[], Coroutine[Any, Any, int]]) -> int:
    """Measure, and return the exit status."""
    try:
        return asyncio.run(measuring())
    except (ProcessFailed, LoginFailed, PackageMissing, TimeoutError) as no:
        print(f"{type(no).__name__}: {no}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130  # Everything was stopped on the way here.


def chosen(parser: argparse.ArgumentParser, measures: Collection[str]) -> argparse.Namespace:
    """Return the options, among which `only` is a list of measures, and `keep` a folder or None."""
    parser.add_argument("--only", help=f"of {', '.join(measures)}, separated by commas")
    parser.add_argument("--keep", type=Path, help="a new folder for logs and files, which stays")
    options = parser.parse_args()
    options.only = options.only.split(",") if options.only else list(measures)
    if unknown := set(options.only) - set(measures):
        parser.error(f"--only: there is no {', '.join(sorted(unknown))}")
    return options


@contextmanager
def folder(kept: Path | None) -> Iterator[Path]:
    """Lend a folder for logs and files, which goes unless it is to be kept."""
    if kept is not None:
        kept.mkdir(parents=True)
        yield kept.absolute()
        return
    with tempfile.TemporaryDirectory(prefix="hotnode-bench-") as found:
        yield Path(found)


def told(lines: Sequence[Line]) -> Sequence[Line]:
    """Print what one measure found, and return it."""
    for line in lines:
        print(line.text(), flush=True)
    return lines


def status(lines: Sequence[Line]) -> int:
    """Print which targets were missed, and return the exit status."""
    missed = [line.label for line in lines if line.missed]
    if missed:
        print(f"missed: {', '.join(missed)}")
    return 1 if missed else 0
