"""A batch at the command line: `python -m batch COMMAND …`.

`validate`, `run`, `status` and `remaining` need no gateway; the others ask one for its batches.

Exit status: 0 done, 2 wrong arguments, 3 the input is refused, 6 the disk failed, 130 interrupted,
141 who read the output has left; each command says what else.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from contextlib import suppress

from batch.client.commands import cancel, listing, results, resume, submit, watch
from batch.client.commands.ending import DISK, INTERRUPTED, WRONG
from batch.commands import output, program, remaining, run, status, validate
from batch.errors import DiskFailed

COMMANDS = (validate, run, status, remaining, submit, watch, cancel, resume, results, listing)
#: As a shell tells of a program that was ended by SIGPIPE.
UNREAD = 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status."""
    output.prepare()
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        return INTERRUPTED
    except ModuleNotFoundError as error:
        if error.name != "aiohttp":
            raise
        return _say_what_to_install()
    except output.Unread:
        status = UNREAD
    except DiskFailed as error:
        # It is the output that failed; the commands tell of all other files themselves.
        with suppress(output.Unread, DiskFailed):
            output.write(sys.stderr, f"{error}\n")
        status = DISK
    output.silence(sys.stdout)
    output.silence(sys.stderr)
    return status


def _say_what_to_install() -> int:
    output.write(
        sys.stderr,
        "aiohttp is not installed here, and without it only `validate`, `status` and `remaining` "
        "work: `pip install '.[batch,login]'` in the clone of the repository, or `./hotnode "
        "batch` there, which installs it by itself\n",
    )
    return WRONG


def _run(arguments: Sequence[str] | None) -> int:
    parser = ArgumentParser(
        prog=program.name(), description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_to(commands)
    given = parser.parse_args(arguments)
    status: int = given.run(given)
    return status


if __name__ == "__main__":
    sys.exit(main())
