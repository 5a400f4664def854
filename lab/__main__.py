"""The lab's command, which can be interrupted from its first moment: `python -m lab demo`."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
#: What shells report of a program that a signal ended.
BY_SIGNAL = 128


def main(arguments: list[str]) -> int:
    """Run what is asked for and return its exit status."""
    for number in SIGNALS:
        signal.signal(number, _leave)
    if arguments[:1] != ["demo"]:
        print("usage: python -m lab demo [--exit]", file=sys.stderr)
        return 2
    from lab import demo  # noqa: PLC0415 - loading it takes a second, in which Ctrl-C may come

    return demo.main(arguments[1:])


def _leave(number: int, _: FrameType | None) -> None:
    """End at once and in one line: nothing has been started yet."""
    os.write(sys.stderr.fileno(), b"demo: stopped before it began\n")
    os._exit(BY_SIGNAL + number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
